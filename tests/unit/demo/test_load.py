"""The load client counts what really happens: nothing is retried, and a step back to an older version is noticed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

SCRIPT = Path(__file__).resolve().parents[3] / "demo" / "load.py"
Handler = Callable[[int], tuple[int, str]]
"""From the number of the request to (status, version)."""


@asynccontextmanager
async def endpoint(decide: Handler) -> AsyncIterator[str]:
    """Serve chat completions whose status and version depend on how many were asked before."""
    asked = 0

    async def chat(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        status, version = decide(asked)
        question = (await request.json())["messages"][-1]["content"]
        body = {"choices": [{"message": {"content": f" answer to {question}\n"}}]}
        return web.json_response(body, status=status, headers={"X-Graft-Version": version, "X-Graft-Base": "ba5e"})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def run(plan: dict[str, Any], *, until: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
    """Run the script as it runs in the cluster; close its input when the condition holds; return its last words."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT.read_text(encoding="utf-8")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(plan).encode() + b"\n")
    last: dict[str, Any] = {}
    async for line in process.stdout:
        last = json.loads(line)
        if until(last) and not process.stdin.is_closing():
            process.stdin.close()
    assert await process.wait() == 0
    return last


def load_plan(url: str, concurrency: int) -> dict[str, Any]:
    return {"url": url, "questions": {"topic": ["a", "b"]}, "concurrency": concurrency, "rate": 200, "once": False}


def sent(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda report: bool(report["requests"] >= count)


async def test_answers_come_in_the_order_of_the_questions() -> None:
    async with endpoint(lambda _: (200, "topic@v1")) as url:
        questions = {"topic": ["a", "b"], "tiny": ["c"]}
        answers = await run({"url": url, "questions": questions, "concurrency": 2, "once": True})
    assert {model: [answer["text"] for answer in given] for model, given in answers.items()} == {
        "topic": ["answer to a", "answer to b"],
        "tiny": ["answer to c"],
    }
    assert answers["tiny"][0]["version"] == "topic@v1"


async def test_versions_are_counted_and_nothing_fails() -> None:
    async with endpoint(lambda number: (200, "topic@v1" if number <= 20 else "topic@v2")) as url:
        report = await run(load_plan(url, concurrency=2), until=sent(60))
    assert report["final"]
    assert (report["failed"], report["wentBack"]) == (0, 0)
    counts = {name: seen["count"] for name, seen in report["versions"].items()}
    assert counts["topic@v1 on ba5e"] == 20
    assert sum(counts.values()) == report["requests"]
    assert report["versions"]["topic@v1 on ba5e"]["last"] <= report["versions"]["topic@v2 on ba5e"]["last"]


@pytest.mark.parametrize("status", [404, 503])
async def test_every_refusal_counts_as_failed(status: int) -> None:
    async with endpoint(lambda number: (status if number in (5, 6, 7) else 200, "topic@v1")) as url:
        report = await run(load_plan(url, concurrency=2), until=sent(20))
    assert report["failed"] == 3
    assert {failure["status"] for failure in report["failures"]} == {status}


async def test_unreachable_endpoint_counts_as_failed() -> None:
    async with endpoint(lambda _: (200, "topic@v1")) as url:
        pass
    report = await run(load_plan(url, concurrency=1), until=sent(3))
    assert report["failed"] == report["requests"] > 0
    assert report["failures"][0]["status"] == 0


async def test_step_back_on_one_connection_is_noticed() -> None:
    async with endpoint(lambda number: (200, "topic@v2" if number == 10 else "topic@v1")) as url:
        report = await run(load_plan(url, concurrency=1), until=sent(20))
    assert report["wentBack"] == 1


async def test_other_version_on_a_new_connection_is_no_step_back() -> None:
    # With two clients the second one opens a connection for every question.
    # Two answers of one version, then two of the other: both versions reach the first client, whoever is quicker.
    async with endpoint(lambda number: (200, f"topic@v{number // 2 % 2 + 1}")) as url:
        plan = load_plan(url, concurrency=2)
        report = await run(plan | {"rate": 1000}, until=sent(20))
    keeping = report["requests"] // 2 + 1
    assert 0 < report["wentBack"] <= keeping


async def test_an_answer_that_is_not_its_versions_own_counts_as_wrong() -> None:
    async with endpoint(lambda number: (200, "topic@v2" if number % 3 else "topic@v1")) as url:
        expected = {"topic@v1": {"a": ["answer to a"]}, "topic@v2": {"a": ["something else"]}}
        report = await run(load_plan(url, concurrency=1) | {"expected": expected}, until=sent(20))
    assert 0 < report["wrong"] < report["checked"] < report["requests"]
    assert {entry["version"] for entry in report["wrongAnswers"]} == {"topic@v2"}
