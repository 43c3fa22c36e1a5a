"""Pushes artifacts as other tools make them, by plain HTTP: nothing of Graft's own client is in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
TITLE: Final = "org.opencontainers.image.title"
EMPTY: Final = b"{}"

Files = dict[str, bytes]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Pusher:
    """One repository of a registry without logins."""

    host: str
    repository: str = "team/adapter"

    def blob(self, data: bytes) -> None:
        root = f"http://{self.host}/v2/{self.repository}/"
        with urllib.request.urlopen(urllib.request.Request(f"{root}blobs/uploads/", b"", method="POST")) as answer:
            place = urljoin(root, answer.headers["Location"])
        url = f"{place}{'&' if '?' in place else '?'}digest={digest(data)}"
        headers = {"Content-Type": "application/octet-stream"}
        urllib.request.urlopen(urllib.request.Request(url, data, headers, method="PUT")).close()

    def manifest(self, document: dict[str, Any], tag: str | None = None) -> str:
        content = json.dumps(document).encode()
        url = f"http://{self.host}/v2/{self.repository}/manifests/{tag or digest(content)}"
        headers = {"Content-Type": document["mediaType"]}
        urllib.request.urlopen(urllib.request.Request(url, content, headers, method="PUT")).close()
        return digest(content)

    def layer(self, data: bytes, media_type: str, **annotations: str) -> dict[str, Any]:
        """Push a blob and return its descriptor; annotations are spelled with ``__`` for dots."""
        self.blob(data)
        named = {name.replace("__", "."): value for name, value in annotations.items()}
        found: dict[str, Any] = {"mediaType": media_type, "digest": digest(data), "size": len(data)}
        return found | ({"annotations": named} if named else {})

    def titled(self, data: bytes, media_type: str, title: str) -> dict[str, Any]:
        return {**self.layer(data, media_type), "annotations": {TITLE: title}}

    def artifact(self, layers: list[dict[str, Any]], tag: str = "v1", **fields: Any) -> str:
        """Push an image manifest; ``config`` is a pair of bytes and media type."""
        data, media_type = fields.pop("config", (EMPTY, "application/vnd.oci.empty.v1+json"))
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.layer(data, media_type),
            "layers": layers,
        }
        return self.manifest(document | fields, tag)


def tar(files: Files, *, prefix: str = "", format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(prefix + name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def tar_of(entries: list[tarfile.TarInfo | tuple[str, bytes]]) -> bytes:
    """Return an archive of files, and of entries that have no content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                header = tarfile.TarInfo(entry[0])
                header.size = len(entry[1])
                archive.addfile(header, io.BytesIO(entry[1]))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def folder(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
