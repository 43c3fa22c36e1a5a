"""Asks a chat endpoint questions: a list of them once, or one after the other until told to stop.

Runs inside the cluster, where only the standard library and aiohttp are at hand; :mod:`demo.client` starts it.
The first line on standard input is the plan, as JSON:

    {"url": "http://graft-tiny.demo.svc:8000", "questions": {"topic": ["…"]},
     "concurrency": 4, "rate": 20, "once": false}

``body`` may hold further members of every request's body, such as ``{"max_tokens": 64}``.
``expected`` may hold how right answers begin, version → question → texts (``{"topic@v1": {"…": ["…"]}}``): an answer of
such a version to such a question that begins otherwise counts as wrong.

With ``once`` every question is asked once and the answers are printed. Otherwise questions are asked at ``rate`` per
second until another line, or the end, of standard input; every second a report of what happened so far is printed, as
one line of JSON.
Nothing is ever asked twice to hide a failure: whatever is not a complete answer with status 200 counts as failed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp

MAX_TOKENS = 8
REQUEST_SECONDS = 60.0
FAILURES_KEPT = 10
VERSION_HEADER, BASE_HEADER = "X-Graft-Version", "X-Graft-Base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one question."""

    status: int
    """HTTP status; 0 when no complete answer arrived."""
    text: str
    version: str
    """``topic@v2``: what answered."""
    base: str
    """First digits of the digest of the base that answered."""
    seconds: float


async def ask(session: aiohttp.ClientSession, plan: Mapping[str, Any], model: str, question: str) -> Answer:
    """Ask one question. A failure is an answer, too: its text says what went wrong."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        **plan.get("body", {}),
    }
    begun = time.perf_counter()
    try:
        async with session.post(f"{plan['url']}/v1/chat/completions", json=body) as response:
            text = await response.text()
            if response.status == 200:
                text = json.loads(text)["choices"][0]["message"]["content"]
            headers = response.headers
            return Answer(
                status=response.status,
                text=text.strip(),
                version=headers.get(VERSION_HEADER, ""),
                base=headers.get(BASE_HEADER, ""),
                seconds=time.perf_counter() - begun,
            )
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
        text = f"{type(error).__name__}: {error}"
        return Answer(status=0, text=text, version="", base="", seconds=time.perf_counter() - begun)


@dataclass(slots=True)
class Seen:
    """How often one version of one model answered, and when first and last (``time.time()``)."""

    first: float
    last: float
    count: int = 0


@dataclass(slots=True)
class Tally:
    """What has happened so far."""

    begun: float = field(default_factory=time.time)
    failures: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0
    went_back: int = 0
    """Answers of a version on a connection that had already got answers of a later one: one connection is one pod."""
    expected: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    checked: int = 0
    """Answers whose right text is known."""
    wrong: list[dict[str, str]] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    """Model → seconds."""
    versions: dict[str, Seen] = field(default_factory=dict)

    def add(self, model: str, question: str, answer: Answer) -> None:
        """Count one answer."""
        now = time.time()
        self.latencies.setdefault(model, []).append(answer.seconds)
        if answer.status != 200:
            self.failed += 1
            if len(self.failures) < FAILURES_KEPT:
                self.failures.append({"model": model, "status": answer.status, "text": answer.text[:300], "time": now})
            return
        seen = self.versions.setdefault(f"{answer.version} on {answer.base}", Seen(now, now))
        seen.count += 1
        seen.last = now
        right = self.expected.get(answer.version, {}).get(question)
        if right is not None:
            self.checked += 1
            if not answer.text.startswith(tuple(right)):
                self.wrong.append({"version": answer.version, "said": answer.text, "right": " | ".join(right)})

    def report(self) -> dict[str, Any]:
        """Return the counts as JSON; latencies in milliseconds."""
        ordered = sorted(itertools.chain.from_iterable(self.latencies.values())) or [0.0]
        return {
            "requests": sum(map(len, self.latencies.values())),
            "failed": self.failed,
            "failures": self.failures,
            "wentBack": self.went_back,
            "seconds": round(time.time() - self.begun, 1),
            "checked": self.checked,
            "wrong": len(self.wrong),
            "wrongAnswers": self.wrong[:FAILURES_KEPT],
            "p50": milliseconds(ordered, 50),
            "p99": milliseconds(ordered, 99),
            "p99Of": {model: milliseconds(sorted(seconds), 99) for model, seconds in self.latencies.items()},
            "slowest": round(ordered[-1] * 1000),
            "versions": {
                name: {"count": seen.count, "first": seen.first, "last": seen.last}
                for name, seen in sorted(self.versions.items())
            },
        }


def milliseconds(ordered: Sequence[float], percent: int) -> int:
    """Return a percentile of sorted seconds."""
    return round(ordered[len(ordered) * percent // 100] * 1000)


class Connection:
    """One client that keeps at most one connection, and knows which versions it got answers from on it."""

    def __init__(self, *, keep_alive: bool) -> None:
        self._history: dict[str, list[str]] = {}
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self._connected)
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, force_close=not keep_alive),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            trace_configs=[trace],
        )

    async def _connected(self, *_: object) -> None:
        self._history.clear()

    def goes_back(self, model: str, version: str) -> bool:
        """Whether this version of the model was already followed by another one on this connection."""
        history = self._history.setdefault(model, [])
        if history and history[-1] == version:
            return False
        history.append(version)
        return version in history[:-1]


async def keep_asking(
    plan: Mapping[str, Any],
    questions: Iterator[tuple[str, str]],
    tally: Tally,
    stop: asyncio.Event,
    *,
    keep_alive: bool,
) -> None:
    """Ask at this client's share of the rate until told to stop."""
    connection = Connection(keep_alive=keep_alive)
    pause = plan["concurrency"] / plan["rate"]
    async with connection.session as session:
        while not stop.is_set():
            due = time.perf_counter() + pause
            model, question = next(questions)
            answer = await ask(session, plan, model, question)
            tally.add(model, question, answer)
            tally.went_back += answer.status == 200 and connection.goes_back(model, answer.version)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def run_load(plan: Mapping[str, Any]) -> None:
    """Ask until told to stop. Half of the clients keep their connection, the others open one per question."""
    stop, tally = asyncio.Event(), Tally(expected=plan.get("expected", {}))
    pairs = itertools.cycle(list(interleaved(plan["questions"])))

    async def report() -> None:
        while not stop.is_set():
            print(json.dumps(tally.report()), flush=True)
            await asyncio.sleep(1)

    async def wait_for_end() -> None:
        await asyncio.to_thread(sys.stdin.readline)
        stop.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(report())
        tasks.create_task(wait_for_end())
        for number in range(plan["concurrency"]):
            tasks.create_task(keep_asking(plan, pairs, tally, stop, keep_alive=number % 2 == 0))
    print(json.dumps(tally.report() | {"final": True, "latencies": tally.latencies}), flush=True)


def interleaved(questions: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield (model, question), the models taking turns."""
    for row in itertools.zip_longest(*questions.values()):
        yield from ((model, question) for model, question in zip(questions, row, strict=True) if question is not None)


async def ask_once(plan: Mapping[str, Any]) -> None:
    """Ask every question once and print the answers, in the order of the questions."""
    limit = asyncio.Semaphore(plan["concurrency"])

    async def one(session: aiohttp.ClientSession, model: str, question: str) -> dict[str, Any]:
        async with limit:
            return asdict(await ask(session, plan, model, question))

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS)) as session:
        answers = {
            model: await asyncio.gather(*(one(session, model, question) for question in questions))
            for model, questions in plan["questions"].items()
        }
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run(ask_once(given) if given["once"] else run_load(given))
