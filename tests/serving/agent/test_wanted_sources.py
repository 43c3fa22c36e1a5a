"""The wanted set as it arrives: from the Kubernetes API through all its weather, and from a file."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.ports import free_port

from graft_serving.cluster_api import ApiAccess
from graft_serving.wanted.configmap import ConfigMapWatch
from graft_serving.wanted.file import wanted_sets_of_file

TOKEN = "first-token"


class FakeApi:
    """The part of the Kubernetes API that serves one ConfigMap by list and watch."""

    def __init__(self) -> None:
        self.port = free_port()
        self.token = TOKEN
        self.version = 1
        self.content: str | None = None
        self.lists = 0
        self.selectors: list[str | None] = []
        self.expire_next_watch = False
        self.items_instead: list[str] = []
        """JSON that the next lists have for their items."""
        self.watched = asyncio.Event()
        self.refused = asyncio.Event()
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/team-a/configmaps", self._configmaps)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def write(self, content: str, *, announce: bool = True) -> None:
        self.version += 1
        self.content = content
        if announce:
            self._events.put_nowait({"type": "MODIFIED", "object": self._configmap()})

    def send(self, event: dict[str, Any]) -> None:
        self._events.put_nowait(event)

    def end_watch(self) -> None:
        self._events.put_nowait(None)

    def _configmap(self) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": str(self.version)}, "data": {"wanted.json": self.content}}

    async def _configmaps(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.refused.set()
            return web.json_response({"message": "Unauthorized"}, status=401)
        self.selectors.append(request.query.get("fieldSelector"))
        if "watch" not in request.query:
            self.lists += 1
            if self.items_instead:
                text = f'{{"metadata":{{"resourceVersion":"1"}},"items":{self.items_instead.pop()}}}'
                return web.Response(text=text, content_type="application/json")
            items = [] if self.content is None else [self._configmap()]
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        if self.expire_next_watch:
            self.expire_next_watch = False
            return web.json_response({"message": "too old resource version"}, status=410)
        response = web.StreamResponse()
        await response.prepare(request)
        self.watched.set()
        while (event := await self._events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    api = FakeApi()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def watch(api: FakeApi, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigMapWatch:
    monkeypatch.setattr("graft_serving.cluster_api.SHORTEST_PAUSE_SECONDS", 0.02)
    access = ApiAccess(url=api.url, token_file=token_file, ca_file=None)
    return ConfigMapWatch(access, namespace="team-a", name="wanted-tiny")


async def following(sets: AsyncIterator[bytes]) -> bytes:
    async with asyncio.timeout(60):
        return await anext(sets)


async def following_once_watched(api: FakeApi, sets: AsyncIterator[bytes], change: Callable[[], None]) -> bytes:
    """The next set after a change that a watch has to tell of, because the list is through."""
    waiting = asyncio.create_task(following(sets))
    await api.watched.wait()
    change()
    return await waiting


async def test_the_configmap_is_read_once_and_then_followed_by_its_events(api: FakeApi, watch: ConfigMapWatch) -> None:
    api.write("one", announce=False)
    sets = watch.wanted_sets()
    assert await following(sets) == b"one"
    api.write("two")
    assert await following(sets) == b"two"
    assert api.lists == 1
    assert set(api.selectors) == {"metadata.name=wanted-tiny"}


async def test_a_configmap_that_is_created_later_arrives_and_its_deletion_changes_nothing(
    api: FakeApi, watch: ConfigMapWatch
) -> None:
    sets = watch.wanted_sets()
    assert await following_once_watched(api, sets, lambda: api.write("one")) == b"one"
    api.send({"type": "DELETED", "object": {"metadata": {"resourceVersion": "9"}, "data": {"wanted.json": "gone"}}})
    api.write("two")
    assert await following(sets) == b"two"


async def test_a_bookmark_is_no_change(api: FakeApi, watch: ConfigMapWatch) -> None:
    def change() -> None:
        api.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}})
        api.write("one")

    assert await following_once_watched(api, watch.wanted_sets(), change) == b"one"


async def test_the_end_of_a_watch_loses_nothing_and_lists_nothing_again(api: FakeApi, watch: ConfigMapWatch) -> None:
    def change() -> None:
        api.end_watch()
        api.write("one")

    assert await following_once_watched(api, watch.wanted_sets(), change) == b"one"
    assert api.lists == 1


@pytest.mark.parametrize("in_stream", [True, False], ids=["within the stream", "as the status"])
async def test_an_expired_watch_lists_again(api: FakeApi, watch: ConfigMapWatch, *, in_stream: bool) -> None:
    sets = watch.wanted_sets()
    if in_stream:
        api.send({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}})
    else:
        api.expire_next_watch = True
    api.write("zero", announce=False)
    assert await following(sets) == b"zero"
    assert await following(sets) == b"zero"
    assert api.lists == 2


async def test_an_api_that_was_away_is_asked_again_when_it_is_back(api: FakeApi, watch: ConfigMapWatch) -> None:
    await api.stop()
    sets = watch.wanted_sets()
    waiting = asyncio.create_task(following(sets))
    await asyncio.sleep(0.1)
    api.write("one", announce=False)
    await api.start()
    assert await waiting == b"one"


async def test_a_token_that_was_rotated_is_read_anew(api: FakeApi, watch: ConfigMapWatch, token_file: Path) -> None:
    api.token = "second-token"
    sets = watch.wanted_sets()
    waiting = asyncio.create_task(following(sets))
    await api.refused.wait()
    assert api.lists == 0
    api.write("one", announce=False)
    await asyncio.to_thread(token_file.write_text, "second-token")
    assert await waiting == b"one"


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "MODIFIED", "object": None},
        {"type": "MODIFIED", "object": {"metadata": None}},
        {"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "9"}, "data": None}},
        {"type": "MODIFIED"},
        ["MODIFIED"],
        7,
        "too many requests",
    ],
)
async def test_an_event_of_another_shape_ends_the_watch_and_nothing_else(
    api: FakeApi, watch: ConfigMapWatch, odd: Any
) -> None:
    def change() -> None:
        api.send(odd)
        api.write("one", announce=False)

    assert await following_once_watched(api, watch.wanted_sets(), change) == b"one"
    assert api.lists == 2


async def test_a_list_of_nothing_at_all_is_asked_for_again(api: FakeApi, watch: ConfigMapWatch) -> None:
    api.items_instead = ["null"]
    api.write("one", announce=False)
    assert await following(watch.wanted_sets()) == b"one"
    assert api.lists == 2


async def test_a_wanted_set_of_half_a_megabyte_fits_through_the_watch(api: FakeApi, watch: ConfigMapWatch) -> None:
    large = "\n" * 500_000
    assert await following_once_watched(api, watch.wanted_sets(), lambda: api.write(large)) == large.encode()


async def test_a_file_is_read_at_each_change_and_may_be_missing_at_first(tmp_path: Path) -> None:
    path = tmp_path / "wanted.json"
    sets = wanted_sets_of_file(path)
    waiting = asyncio.create_task(following(sets))
    await asyncio.sleep(0.15)
    path.write_bytes(b"one")
    assert await waiting == b"one"
    path.write_bytes(b"two")
    assert await following(sets) == b"two"
