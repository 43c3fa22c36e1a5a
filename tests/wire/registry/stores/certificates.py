"""A CA of the tests' own, as a company has one, and a certificate that it has signed."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "s3.test", "*.s3.test")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: the CA's certificate, and a server's certificate and key."""

    bundle: Path
    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """Return what a server of Python speaks TLS by."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def certificates(folder: Path) -> Certificates:
    """Make a CA and a certificate for the tests' names and 127.0.0.1, in ``folder``."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a company's CA")])
    ca = _builder(ca_name, ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(
        x509.KeyUsage(False, False, False, False, False, True, True, False, False),  # signs certificates and lists
        critical=True,
    )
    authority = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False).sign(
        ca_key, hashes.SHA256()
    )
    names = x509.SubjectAlternativeName([*map(x509.DNSName, NAMES), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a store")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    signed = _builder(name, ca_name, key).add_extension(names, critical=False).add_extension(issuer, critical=False)
    files = Certificates(folder / "ca.pem", folder / "store.pem", folder / "store.key")
    files.bundle.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(signed.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
