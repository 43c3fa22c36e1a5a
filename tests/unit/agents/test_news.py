"""For whom a pod's answer is news."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent_documents import state_of
from tests.unit.agents.states import adapter, state, version

from graft_operator.agents.state_diff import NOTHING, AgentNews, news_between


def news(before: dict[str, Any] | None, after: dict[str, Any] | None, *measured: str) -> AgentNews:
    return news_between(state_of(before) if before else None, state_of(after) if after else None, measured)


def told(*names: str, base: bool = False) -> AgentNews:
    return AgentNews(frozenset(names), base=base)


def with_version(**fields: Any) -> dict[str, Any]:
    return state(adapter("sales"), adapter("support", versions=[version(**fields)]))


COUNTED = {"requests": 20, "measured": {"requests": 20, "errors": 1, "latency": {}}, "inflight": 3}
PROBED = {"probes": {"of": "sha256:d", "total": 32, "asked": 8, "right": 8}}
QUIET: dict[str, Any] = {"active": [], "versions": [], "lastAsked": None}


@pytest.mark.parametrize(
    ("before", "after", "measured", "expected"),
    [
        (None, state(adapter()), (), told("support", base=True)),
        (state(adapter()), None, (), told("support", base=True)),
        (None, None, (), NOTHING),
        (state(adapter()), state(adapter(), revision="a-2"), (), NOTHING),
        (state(), state(adapter("new", **QUIET)), (), told("new")),
        (state(adapter("old", **QUIET)), state(), (), told("old")),
        (with_version(), with_version(state="Failing"), (), told("support")),
        (with_version(state="Failing"), with_version(state="Failing", reason="DiskFull"), (), told("support")),
        (with_version(state="Loading"), with_version(state="Proving"), (), NOTHING),
        (with_version(state="Proving"), with_version(state="Proven"), (), told("support")),
        (with_version(state="Proven"), with_version(state="Hibernating"), (), told("support")),
        (with_version(), with_version(**COUNTED), (), NOTHING),
        (with_version(), with_version(**COUNTED), ("support", "sales"), told("support")),
        (with_version(), with_version(**PROBED), (), NOTHING),
        (with_version(), with_version(**PROBED), ("support",), told("support")),
        (
            state(adapter(active=[{"number": 7, "weight": 100}])),
            state(adapter(active=[{"number": 7, "weight": 90}, {"number": 8, "weight": 10}])),
            (),
            told("support"),
        ),
        (state(adapter(active=[])), state(adapter()), (), told("support", base=True)),
        (
            state(adapter(decision={"target": 7, "previous": None, "weight": 100})),
            state(adapter(decision={"target": 8, "previous": 7, "weight": 10})),
            (),
            told("support"),
        ),
    ],
)
def test_an_adapter_looks_at_what_it_decides_by(
    before: Any, after: Any, measured: tuple[str, ...], expected: AgentNews
) -> None:
    assert news(before, after, *measured) == expected


@pytest.mark.parametrize(
    ("change", "is_news"),
    [
        ({"ready": False}, True),
        ({"engine": {"state": "Down", "message": "out of memory"}}, True),
        ({"engine": {"state": "Ready", "starts": 2}}, False),
        ({"wantedDigest": "sha256:" + "e" * 64}, True),
        ({"message": "wanted.json is not valid"}, True),
        ({"base": {"name": "tiny", "digest": "sha256:" + "f" * 64}}, True),
        ({"revision": "a-9"}, False),
    ],
)
def test_a_base_looks_at_its_pods(change: dict[str, Any], is_news: bool) -> None:
    assert news(state(), state() | change) == AgentNews(frozenset(), base=is_news)


def asked(**times: str | None) -> dict[str, Any]:
    return state(*(adapter(name, active=[], versions=[], lastAsked=time) for name, time in times.items()))


@pytest.mark.parametrize(
    ("before", "after", "is_news"),
    [
        (asked(a=None), asked(a="2026-01-01T00:00:01Z"), True),
        (asked(a="2026-01-01T00:00:01Z"), asked(a="2026-01-01T00:00:11Z"), True),
        (asked(a="2026-01-01T00:00:01Z"), asked(a="2026-01-01T00:00:01Z"), False),
        (state(adapter(lastAsked=None)), state(adapter(lastAsked="2026-01-01T00:00:01Z")), False),
    ],
    ids=["first request", "another request", "nobody", "it answers there"],
)
def test_a_base_looks_when_somebody_asks_in_vain(before: Any, after: Any, is_news: bool) -> None:
    assert news(before, after).base == is_news
