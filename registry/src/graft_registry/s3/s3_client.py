"""How the store is spoken to: timeouts, checksums, encryption."""

import os
from base64 import b64encode
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from graft_registry.config import Credentials, RegistryConfig


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one request may take, and how often it is made."""

    connect_seconds: float = 5
    read_seconds: float = 60
    """Between two pieces of an answer."""
    attempts: int = 4


PATIENT: Final = Patience()
"""For programs that have nothing to do but what they ask for."""


def s3_client(config: RegistryConfig, credentials: Credentials | None, patience: Patience) -> Any:
    """Return boto3's client."""
    session = boto3.session.Session(
        aws_access_key_id=credentials and credentials.access_key,
        aws_secret_access_key=credentials and credentials.secret_key,
        aws_session_token=credentials and credentials.session_token,
    )
    client = session.client(
        "s3",
        endpoint_url=config.endpoint,
        region_name=config.region,
        config=Config(
            connect_timeout=patience.connect_seconds,
            read_timeout=patience.read_seconds,
            retries={"mode": "standard", "total_max_attempts": patience.attempts},
            s3=s3_options(config),
            max_pool_connections=32,
        ),
    )
    if config.endpoint is not None:
        client.meta.events.register("before-parameter-build.s3", _without_redirects)
    return client


def _without_redirects(context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from looking for a bucket's region: of a store that is not AWS it asks for it without end."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def checksum(sha256: str) -> str:
    """Spell a hash as S3's checksums are."""
    return b64encode(bytes.fromhex(sha256)).decode()


def sends_checksums(client: Any) -> bool:
    """Whether bodies carry checksums; not where ``AWS_REQUEST_CHECKSUM_CALCULATION`` is ``when_required``."""
    return bool(client.meta.config.request_checksum_calculation != "when_required")


def encryption(config: RegistryConfig) -> dict[str, str]:
    """Return what a write says on how the store is to encrypt it. Pure."""
    arguments = {"ServerSideEncryption": config.server_side_encryption, "SSEKMSKeyId": config.kms_key_id}
    return {name: value for name, value in arguments.items() if value}


def has_name(endpoint: str) -> bool:
    """Whether a bucket's name can stand before the endpoint's host: not before an address. Pure."""
    host = urlsplit(endpoint).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return "." in host
    return False


def s3_options(config: RegistryConfig) -> dict[str, Any]:
    """Return botocore's options for S3.

    Bodies carry checksums in headers that are signed. To sign the bodies themselves as well, as botocore does without
    TLS, would hash each a second time; it stays on where checksums are switched off.
    """
    style = "path"
    if not config.force_path_style:  # botocore takes "auto" for "path" where there is an endpoint
        style = "virtual" if config.endpoint and has_name(config.endpoint) else "auto"
    options: dict[str, Any] = {"addressing_style": style}
    if os.environ.get("AWS_REQUEST_CHECKSUM_CALCULATION", "").lower() != "when_required":
        options["payload_signing_enabled"] = False
    return options
