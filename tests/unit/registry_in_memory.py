"""An object store in memory, below the real registry code."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from graft_registry.config import RegistryConfig
from graft_registry.documents import BaseManifest, BaseSourceRecord, StoredVersion, StoreReport, VersionDraft, timestamp
from graft_registry.errors import Corrupt, Forbidden, NotFound, Unavailable
from graft_registry.layout import AdapterLayout, BaseLayout
from graft_registry.s3.store import DOCUMENT_BYTES, ObjectStore, StoredObject
from graft_registry.versions import AdapterRegistry


class Switches:
    """What is wrong with the store at the moment; shared by all views of it."""

    def __init__(self) -> None:
        self.away = False
        """Nothing is answered: Unavailable at once."""
        self.hangs: Callable[[str], bool] = lambda key: False
        """Of which keys requests hang: threads until `release`. The main thread is told at once that it took long."""
        self.forbidden: Callable[[str], bool] = lambda key: False
        """Of which keys requests are refused."""
        self.conditional = True
        """Whether conditional writes are honoured."""
        self.before_write: Callable[[str], None] = lambda key: None
        """Called before each write and deletion takes effect: raise to lose the process there."""
        self.after_write: Callable[[str], None] = lambda key: None
        """Called after each write and deletion took effect: raise to lose the answer."""


class InMemoryStore(ObjectStore):
    """As the registry's ``ObjectStore``, with its keys and errors, and nothing behind it. Safe between threads."""

    def __init__(self) -> None:
        self.config = RegistryConfig(bucket="in-memory")
        self._is_stopped = lambda: False
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        """(verb, key or prefix) of every request; clear it to count anew."""
        self.switches = Switches()
        self._lock = threading.Lock()
        self._released = threading.Event()

    def release(self) -> None:
        """Let whatever hangs end, as a store that drops its connections does; what comes later hangs again."""
        self._released.set()
        self._released = threading.Event()

    def get(self, key: str, *, most: int = DOCUMENT_BYTES) -> bytes:
        self._request("GET", key)
        data = self._read(key)
        if len(data) > most:
            raise Corrupt(key, f"at most {most} bytes", f"{len(data)} or more")
        return data

    def put(self, key: str, data: bytes) -> None:
        self._request("PUT", key)
        self._write(key, data)

    def _put_on_condition(self, key: str, data: bytes) -> bool | None:
        self._request("PUT", key)
        self.switches.before_write(key)
        with self._lock:
            there = self.objects.get(key) if self.switches.conditional else None
            if there is None:
                self.objects[key] = data
        self.switches.after_write(key)
        return there in (None, data)

    def examine(self, *, thoroughly: bool = False) -> StoreReport:
        """Only what the operator decides by: writes one object twice, as the doctor does, and deletes it."""
        key, honoured, findings = ".probe/one/a", None, []
        try:
            honoured = self._put_on_condition(key, b"first") is True and not self._put_on_condition(key, b"second")
            self.delete(key)
            verdict = "Ok" if honoured else "Warning"
            findings = [
                {"check": "conditional writes", "found": "honoured" if honoured else "ignored", "verdict": verdict}
            ]
        except Forbidden:
            findings = [{"check": "right s3:PutObject", "found": "no", "verdict": "Failed"}]
        return StoreReport.model_validate(
            {"bucket": self.config.bucket, "conditionalWrites": honoured, "findings": findings}
        )

    def exists(self, key: str) -> bool:
        self._request("HEAD", key)
        return key in self.objects

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._request("LIST", prefix)
        with self._lock:
            found = sorted((key, data) for key, data in self.objects.items() if key.startswith(prefix))
        yield from (StoredObject(key, len(data), hashlib.sha256(data).hexdigest()) for key, data in found)

    def upload_file(self, path: Path, key: str, *, sha256: str, size: int) -> None:
        self._request("PUT", key)
        self._write(key, path.read_bytes())

    def download_file(self, key: str, destination: Path, *, sha256: str | None, size: int | None = None) -> str:
        self._request("GET", key)
        data = self._read(key)
        actual = hashlib.sha256(data).hexdigest()
        if sha256 not in (None, actual):
            raise Corrupt(key, f"sha256 {sha256}", actual)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(data)
        return actual

    def delete(self, key: str) -> None:
        self._request("DELETE", key)
        self.switches.before_write(key)
        with self._lock:
            self.objects.pop(key, None)
        self.switches.after_write(key)

    def delete_prefix(self, prefix: str) -> None:
        if not prefix.endswith("/") or prefix == "/":
            raise ValueError(f"refusing to delete by prefix {prefix!r}")
        for entry in list(self.list(prefix)):
            self.delete(entry.key)

    def _request(self, verb: str, key: str) -> None:
        self._refuse_if_stopped(key)
        released = self._released
        with self._lock:
            self.requests.append((verb, key))
        if self.switches.away:
            raise Unavailable("away")
        if self.switches.hangs(key):
            if threading.current_thread() is not threading.main_thread():
                released.wait()
            raise Unavailable("the registry has not answered for 20 s")
        if self.switches.forbidden(key):
            raise Forbidden(f"{key}: AccessDenied")

    def _read(self, key: str) -> bytes:
        with self._lock:
            if key not in self.objects:
                raise NotFound(key)
            return self.objects[key]

    def _write(self, key: str, data: bytes) -> None:
        self.switches.before_write(key)
        with self._lock:
            self.objects[key] = data
        self.switches.after_write(key)


def publish(store: ObjectStore, draft: VersionDraft) -> StoredVersion:
    """Publish a version that has no files, with the next number, as the real registry does; idempotent by recipe."""
    registry = AdapterRegistry(store, draft.namespace, draft.adapter)
    existing = registry.find(draft.recipe)
    if existing is not None:
        return existing
    stored = registry._commit(draft.recipe, {**dict(draft), "files": (), "created_time": timestamp()})
    registry._repair_pointer(stored)
    return stored


def store_version(store: ObjectStore, stored: StoredVersion) -> None:
    """Put a version where the registry keeps it, without a pointer to it."""
    manifest = stored.manifest
    store.put(AdapterLayout(manifest.namespace, manifest.adapter).manifest(manifest.number), manifest.to_bytes())


def store_base(store: ObjectStore, manifest: BaseManifest) -> None:
    """Put a base, and what its source was resolved to, where the registry keeps them."""
    layout = BaseLayout(manifest.namespace, manifest.name)
    store.put(layout.manifest(manifest.digest), manifest.to_bytes())
    record = BaseSourceRecord(source=manifest.source, digest=manifest.digest, created_time=timestamp())
    store.put(layout.source(manifest.source.digest()), record.to_bytes())
