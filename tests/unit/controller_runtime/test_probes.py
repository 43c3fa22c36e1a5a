import asyncio

import aiohttp
import pytest

from graft_operator.controller_runtime.probes import Health, heartbeat_forever, probe_server


async def test_a_silent_loop_and_a_lagging_one_are_complaints() -> None:
    clock = 0.0
    health = Health(clock=lambda: clock)
    beat = health.watch("resync", max_silence=60)
    clock = 60.0
    assert health.complaints() == []
    clock = 61.0
    assert health.complaints() == ["resync was silent for 61 s (limit 60 s)"]
    beat()
    health.lag_seconds = 11.0
    assert health.complaints() == ["event loop lags 11.0 s (limit 10 s)"]


async def test_a_worker_may_be_silent_only_while_it_has_nothing_to_do() -> None:
    clock, work = 0.0, list[str]()
    health = Health(clock=lambda: clock)
    beat = health.watch("workers", max_silence=60, has_work=lambda: bool(work))
    clock = 3600.0
    assert health.complaints() == []
    work.append("key")
    clock = 3660.0
    assert health.complaints() == [], "the work came after the last look"
    clock = 3661.0
    assert health.complaints() == ["workers was silent for 61 s (limit 60 s)"]
    beat()
    assert health.complaints() == []
    clock = 4000.0
    health.forget("workers")
    assert health.complaints() == []


async def test_a_call_that_blocks_the_loop_shows_as_lag() -> None:
    blocked = 0.0
    health = Health(clock=lambda: asyncio.get_running_loop().time() + blocked)
    task = asyncio.create_task(heartbeat_forever(health))
    await asyncio.sleep(10.5)
    assert health.lag_seconds == pytest.approx(0, abs=0.01)
    blocked = 3.0
    await asyncio.sleep(1)
    assert health.lag_seconds == pytest.approx(3, abs=0.01)
    await asyncio.sleep(1)
    assert health.lag_seconds == pytest.approx(0, abs=0.01), "the loop recovered"
    task.cancel()


@pytest.mark.looptime(False)
async def test_the_probe_server_tells_health_readiness_and_metrics() -> None:
    clock = 0.0
    health = Health(clock=lambda: clock)
    health.watch("resync", max_silence=60)

    async def objects() -> list[bytes]:
        return [b"graft_adapter_served_version 7\n", b"graft_adapter_target_version 8\n"]

    async with (
        probe_server(health, port=0, host="127.0.0.1", more_metrics=objects) as port,
        aiohttp.ClientSession() as session,
    ):

        async def get(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, await response.text()

        assert await get("/healthz") == (200, "ok")
        assert await get("/readyz") == (503, "not ready")
        health.ready = True
        assert await get("/readyz") == (200, "ok")
        status, text = await get("/metrics")
        assert status == 200
        assert "graft_queue_depth" in text
        assert text.endswith("\ngraft_adapter_served_version 7\ngraft_adapter_target_version 8\n")
        clock = 100.0
        assert await get("/healthz") == (503, "resync was silent for 100 s (limit 60 s)")
