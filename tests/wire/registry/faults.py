"""Ways in which a store, a network or a process lets the registry down."""

from pathlib import Path
from typing import Any

from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore


class ProcessDiedError(Exception):
    """Stands for the death of the process at this point."""


class DyingStore(ObjectStore):
    """Dies at its n-th write (counted from 1): before it takes effect, or right after."""

    def __init__(self, config: RegistryConfig, *, at_write: int, after: bool) -> None:
        super().__init__(config)
        self._writes_left = at_write
        self._after = after

    @property
    def survived(self) -> bool:
        return self._writes_left > 0

    def _count(self, *, is_after: bool) -> None:
        if is_after is not self._after:
            return
        self._writes_left -= 1
        if self._writes_left == 0:
            raise ProcessDiedError

    def put(self, key: str, data: bytes) -> None:
        self._count(is_after=False)
        super().put(key, data)
        self._count(is_after=True)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._count(is_after=False)
        written = super().put_if_absent(key, data)
        self._count(is_after=True)
        return written

    def upload_file(self, path: Path, key: str, *, sha256: str, size: int) -> None:
        self._count(is_after=False)
        super().upload_file(path, key, sha256=sha256, size=size)
        self._count(is_after=True)

    def delete(self, key: str) -> None:
        self._count(is_after=False)
        super().delete(key)
        self._count(is_after=True)

    def delete_prefix(self, prefix: str) -> None:
        self._count(is_after=False)
        super().delete_prefix(prefix)
        self._count(is_after=True)


def lose_answers_to_writes(store: ObjectStore, *, of: str, how_many: int) -> None:
    """Let writes of keys that contain ``of`` reach the server and take effect, but lose the next answers to them."""
    left = iter(range(how_many))
    session = URLLib3Session()

    def send_and_time_out(request: Any, **_: Any) -> None:
        if of in request.url and next(left, None) is not None:
            session.send(request)
            raise ReadTimeoutError(endpoint_url=request.url)

    store._client.meta.events.register("before-send.s3.PutObject", send_and_time_out)
