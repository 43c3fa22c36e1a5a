"""The registry's store, opened anew when the keys for it have changed: rotated keys need no restart.

The keys are files of a mounted Secret, each named like the environment variable that it stands for.
"""

import logging
from pathlib import Path
from typing import Final

from graft_registry.config import Credentials, RegistryConfig
from graft_registry.s3.store import ObjectStore

logger = logging.getLogger(__name__)

ACCESS_KEY: Final = "AWS_ACCESS_KEY_ID"
SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a file's name
SESSION_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - a file's name

_Seen = tuple[tuple[int, int] | None, ...]


class RegistryStore:
    """Opens the store with the keys of a folder; while there are none, with what boto3 finds by itself."""

    def __init__(self, config: RegistryConfig, folder: Path | None) -> None:
        """Open the store of `config`; without a folder the keys are boto3's own to find, once."""
        self._config = config
        self._folder = folder
        self._seen: _Seen = ()
        self._store: ObjectStore | None = None

    def open(self) -> ObjectStore:
        """The store with the present keys. Blocks for a moment where they have changed."""
        seen = self._look()
        if self._store is None or seen != self._seen:
            credentials = self._read()
            self._store, self._seen = ObjectStore(self._config, credentials), seen
            logger.info("registry opened keys=%s", "of files" if credentials else "of the environment")
        return self._store

    def _look(self) -> _Seen:
        """What tells that a file is another one: Secrets are replaced as a whole, by new files."""
        if self._folder is None:
            return ()
        looks: list[tuple[int, int] | None] = []
        for name in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN):
            try:
                status = (self._folder / name).stat()
            except OSError:
                looks.append(None)
            else:
                looks.append((status.st_ino, status.st_mtime_ns))
        return tuple(looks)

    def _read(self) -> Credentials | None:
        access_key, secret_key, token = map(self._text, (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN))
        return Credentials(access_key, secret_key, token) if access_key and secret_key else None

    def _text(self, name: str) -> str | None:
        if self._folder is None:
            return None
        try:
            return (self._folder / name).read_text().strip() or None
        except OSError:
            return None
