"""The keys that clients must know, from a file that may change at any time (a mounted Secret)."""

import codecs
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from graft_serving.proxy import headers

logger = logging.getLogger(__name__)

SCHEME = "bearer"


class ApiKeys:
    """The keys in one file, one a line. While the file can't be read, or holds none, no key is right."""

    def __init__(self, path: Path) -> None:
        """Read the keys from `path`, again whenever the file has changed."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._digests: frozenset[bytes] = frozenset()

    def client_of(self, sent: Mapping[str, str]) -> str | None:
        """A name for whoever knows the key in `Authorization: Bearer <key>` or `X-Api-Key`; None if that is no key.

        Takes the same time for every wrong key, and for however many there are: what is looked for is a digest, of
        which nobody can choose a part to come nearer to a right one.
        """
        self._reread_if_changed()
        offered = _digest(_offered(sent))
        return hashlib.sha256(offered).hexdigest()[:16] if offered in self._digests else None

    def _reread_if_changed(self) -> None:
        # A look at the file's inode is a matter of microseconds; no watch could be lost or late.
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return
            digests = frozenset(_digest(key) for key in keys_in(self._path.read_bytes()))
        except OSError as error:
            if self._digests or self._seen is None:
                logger.error("no API key is accepted, since %s can't be read: %s", self._path, error)
            self._seen, self._digests = (0, 0, 0), frozenset()
            return
        self._seen, self._digests = seen, digests
        logger.info("API keys read path=%s keys=%d", self._path, len(digests))


def keys_in(content: bytes) -> tuple[str, ...]:
    """The keys of a file: its lines without surrounding space; empty lines don't count.

    It is UTF-8, with a mark of that before it or without, or UTF-16 with its mark, as PowerShell writes what it is told
    to write to a file.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    return tuple(key for line in text.splitlines() if (key := line.strip()))


def _offered(sent: Mapping[str, str]) -> str:
    authorization, other = (sent.get(name, "") for name in headers.KEYS)
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == SCHEME else other.strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
