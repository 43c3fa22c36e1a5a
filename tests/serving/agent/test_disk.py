"""A disk that is full costs new versions, never those that are served."""

import asyncio
import errno
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion


class FullDisk:
    """The disk has room for nothing while `is_full`, unless the given folder has been deleted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.but_for: Path | None = None
        fetch = AdapterRegistry.fetch

        def fetch_to_disk(
            registry: AdapterRegistry, stored: StoredVersion, destination: Path, *, merged: bool = True
        ) -> None:
            if self.is_full and (self.but_for is None or self.but_for.exists()):
                raise OSError(errno.ENOSPC, "No space left on device")
            fetch(registry, stored, destination, merged=merged)

        monkeypatch.setattr(AdapterRegistry, "fetch", fetch_to_disk)


async def test_a_full_disk_is_told_and_tried_again_while_the_others_serve(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        disk.is_full = True
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        failing = await pod.until_state("support", 2, "Failing")
        answer = await pod.ask("support")
        assert await pod.is_ready()
        disk.is_full = False
        await pod.until_answered_by("support", "support@v2")
    assert failing["reason"] == "DiskFull"
    assert "No space left on device" in failing["message"]
    assert answer.headers["X-Graft-Version"] == "support@v1"


async def test_what_nobody_needs_makes_room_on_a_full_disk(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.settings = pod.settings.model_copy(update={"cache_bytes": 10_000_000})
    disk = FullDisk(monkeypatch)
    v1, v2, v3 = (pod.publisher.publish("support") for _ in range(3))
    async with pod.agent():
        for stored in (v1, v2):
            pod.want(wanted_set(pod.base, wanted_adapter("support", [stored])))
            await pod.until_answered_by("support", f"support@v{stored.manifest.number}")
        await pod.until_state("support", 1, None)
        assert await asyncio.to_thread(pod.folder_of(v1).exists)
        disk.is_full, disk.but_for = True, pod.folder_of(v1)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v2, v3])))
        await pod.until_answered_by("support", "support@v3")
        assert await asyncio.to_thread(pod.folder_of(v2).exists)


async def test_a_disk_that_can_hold_no_memory_doesn_t_end_the_agent(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(path: Path, content: bytes) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 1)])))
        await pod.until_ready()
        monkeypatch.setattr("graft_serving.adapters.saved_state.write_atomically", no_room)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        await pod.until_answered_by("support", "support@v2")


async def test_a_merged_model_beside_an_adapter_takes_no_room(pod: Pod) -> None:
    stored = pod.publisher.publish("support", merged=True)
    assert "merged/config.json" in [file.path for file in stored.manifest.files]
    for _ in range(2):  # the second agent finds the adapter on the disk, and verifies it there
        async with pod.agent():
            pod.want(wanted_set(pod.base, wanted_adapter("support", [stored])))
            await pod.until_answered_by("support", "support@v1")
        assert not await asyncio.to_thread((pod.folder_of(stored) / "merged").exists)


async def test_a_fetch_that_nobody_needs_any_more_leaves_nothing_on_the_disk(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on, ended = threading.Event(), threading.Event(), threading.Event()
    asked_since: list[str] = []
    download = ObjectStore.download_file

    def slow_download(store: ObjectStore, key: str, destination: Path, **expected: Any) -> str:
        begun.set()
        may_go_on.wait(60)
        asked_since.append(key)
        try:
            return download(store, key, destination, **expected)
        finally:
            ended.set()

    monkeypatch.setattr(ObjectStore, "download_file", slow_download)
    incoming = pod.settings.adapters_dir / ".incoming"
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await asyncio.to_thread(begun.wait, 60)
        pod.want(wanted_set(pod.base))
        await pod.until_state("support", 1, None)
        may_go_on.set()
        await asyncio.to_thread(ended.wait, 60)

        async def is_empty() -> bool:
            return not await asyncio.to_thread(lambda: list(incoming.iterdir()))

        await eventually(is_empty)
    assert len(asked_since) == 1


async def test_a_disk_that_takes_nothing_more_ends_no_agent(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: Any) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        await pod.until_ready()
        monkeypatch.setattr("graft_serving.adapters.cache.os.utime", read_only)
        monkeypatch.setattr(Path, "rename", read_only)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v2])))
        await pod.until_state("support", 1, None)
        answer = await pod.ask("support")
    assert answer.headers["X-Graft-Version"] == "support@v2"
