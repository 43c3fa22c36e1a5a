"""Content digests: the one definition of "the same bytes" and "the same document"."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

DIGEST_PREFIX = "sha256:"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def sha256_digest(data: bytes) -> str:
    """Return ``sha256:<64 hex>`` of the bytes."""
    return DIGEST_PREFIX + hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the 64 hex digits of the SHA-256 of a file's content, read as a stream."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(document: object) -> bytes:
    """Encode JSON in the one form that digests are taken over.

    Raises:
        ValueError: a number is not finite (JSON has no spelling for it).
        TypeError: a value isn't JSON.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest_of(document: object) -> str:
    """Return ``sha256:<64 hex>`` of the document's canonical JSON."""
    return sha256_digest(canonical_json(document))


def digest_of_items(items: Iterable[object]) -> str:
    """Return ``sha256:<64 hex>`` of the canonical JSON of a list, of whose items only one is held at a time."""
    found, before = hashlib.sha256(b"["), b""
    for item in items:
        found.update(before + canonical_json(item))
        before = b","
    found.update(b"]")
    return DIGEST_PREFIX + found.hexdigest()


def digest_hex(digest: str) -> str:
    """Return the 64 hex digits of a ``sha256:…`` digest, for use in object keys.

    Raises:
        ValueError: not a SHA-256 digest.
    """
    if _DIGEST.fullmatch(digest) is None:
        raise ValueError(f"not a digest of the form sha256:<64 lowercase hex>: {digest!r}")
    return digest.removeprefix(DIGEST_PREFIX)
