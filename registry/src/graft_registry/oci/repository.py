"""One repository of a registry: manifests by name, blobs by digest, each checked to be what it is called."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from urllib3.exceptions import HTTPError

from graft_registry.digests import sha256_digest
from graft_registry.errors import Corrupt, RegistryError, Unavailable
from graft_registry.oci.answers import parsed_object
from graft_registry.oci.connection import DOCUMENT_BYTES, Body, Connection, read_at_most, unavailable
from graft_registry.oci.manifests import ACCEPT, Descriptor
from graft_registry.oci.references import Reference

log = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 1 << 20
_ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest or index as it is stored, and the digest of its bytes."""

    document: Mapping[str, Any]
    digest: str


class Repository:
    """What can be asked of one repository. ``actions``: what a login must allow, ``pull`` or ``pull,push``."""

    def __init__(self, reference: Reference, environ: Mapping[str, str], actions: str = "pull") -> None:
        self._reference = reference
        self._connection = Connection(reference, environ, actions)

    def digest(self, name: str) -> str | None:
        """Return the digest of the manifest called ``name``, a tag or a digest, None if there is no such manifest.

        Raises:
            RegistryError: as the registry answers.
        """
        answer = self._connection.ask(
            "HEAD", f"manifests/{name}", what=self._what, headers={"Accept": ACCEPT}, missing_is_fine=True
        )
        answer.drain_conn()
        if answer.status == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest", "")
        return digest if digest.startswith("sha256:") else self.manifest(name).digest

    def manifest(self, name: str) -> StoredManifest:
        """Return the manifest or index called ``name``, a tag or a digest.

        Raises:
            NotFound: there is none.
            Corrupt: it has not the digest that it is called by.
            InvalidArtifact: it is not JSON, or too long.
        """
        answer = self._connection.ask("GET", f"manifests/{name}", what=self._what, headers={"Accept": ACCEPT})
        content = read_at_most(answer, DOCUMENT_BYTES, self._what)
        actual = sha256_digest(content)
        promised = name if name.startswith("sha256:") else answer.headers.get("Docker-Content-Digest", "")
        if promised.startswith("sha256:") and promised != actual:
            raise Corrupt(f"{self._reference}", promised, actual)
        return StoredManifest(parsed_object(content, what=self._what), actual)

    def download(self, blob: Descriptor, destination: Path) -> None:
        """Write a blob to a file, verified.

        Raises:
            NotFound: the registry has lost it.
            Corrupt: it has another digest or length.
            Unavailable: it broke off again and again.
        """
        what = f"{self._reference}: blob {blob.digest}"
        for left in reversed(range(_ATTEMPTS)):
            try:
                answer = self._connection.ask("GET", f"blobs/{blob.digest}", what=what)
                with destination.open("wb") as sink:
                    actual = _copy(answer.stream(_CHUNK_BYTES, decode_content=False), sink, blob, what)
            except HTTPError as error:
                if not left:
                    raise unavailable(error, what) from error
                log.info("downloading again after: %s", error)
            else:
                if actual != blob.digest:
                    raise Corrupt(what, blob.digest, actual)
                return

    def upload(self, digest: str, size: int, body: Body) -> None:
        """Store a blob, unless the registry has it.

        Raises:
            RegistryError: as the registry answers.
        """
        what = f"{self._reference}: blob {digest}"
        there = self._connection.ask("HEAD", f"blobs/{digest}", what=what, missing_is_fine=True)
        there.drain_conn()
        if there.status == 200:
            return
        begun = self._connection.ask("POST", "blobs/uploads/", what=what, headers={"Content-Length": "0"})
        begun.drain_conn()
        place = begun.headers.get("Location")
        if not place:
            raise RegistryError(f"{what}: the registry does not say where to send it")
        place = f"{place}{'&' if '?' in place else '?'}digest={quote(digest)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._connection.ask("PUT", place, what=what, headers=headers, body=body).drain_conn()

    def put_manifest(self, name: str, content: bytes, media_type: str) -> None:
        """Store a manifest under a tag, or its digest. Its blobs have to be there.

        Raises:
            RegistryError: as the registry answers.
        """
        headers = {"Content-Type": media_type}
        self._connection.ask("PUT", f"manifests/{name}", what=self._what, headers=headers, body=content).drain_conn()

    @property
    def _what(self) -> str:
        return str(self._reference)


def _copy(pieces: Iterable[bytes], sink: BinaryIO, blob: Descriptor, what: str) -> str:
    """Write what comes and return its digest; no more is read than the blob may have."""
    hashing, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > blob.size:
            raise Corrupt(what, f"{blob.size} bytes", f"{size} or more")
        hashing.update(piece)
        sink.write(piece)
    if size < blob.size:
        raise Unavailable(f"{what}: broke off after {size} of {blob.size} bytes")
    return f"sha256:{hashing.hexdigest()}"
