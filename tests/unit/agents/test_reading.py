"""State documents, those that are no such thing, and those that are meant to hurt."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.agent_documents import state_of
from tests.unit.agents.states import adapter, state, text, version

from graft_operator.agents.state import EchoedDecision
from graft_operator.agents.state_parser import MAX_ADAPTERS, MESSAGE_CHARACTERS, InvalidState, read_state


def test_what_plans_read_is_kept() -> None:
    told = read_state(text(state(adapter(decision={"target": 7, "previous": 6, "weight": 10}))))
    found = told.adapter("support")
    assert found is not None
    assert (found.active[0].number, found.active[0].weight) == (7, 100)
    assert found.last_asked == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.decision == EchoedDecision(target=7, previous=6, weight=10)
    kept = found.versions[0]
    assert (kept.number, kept.state, kept.manifest_digest) == (7, "Proven", "sha256:" + "c" * 64)
    assert (kept.measured.requests, kept.measured.latency) == (10, {-27: 8, -26: 2})


def test_an_adapter_is_found_by_name_in_whatever_order_the_agent_tells_them() -> None:
    told = state_of(state(*(adapter(name) for name in ("sales", "support", "billing"))))
    assert [item.name for item in told.adapters] == ["billing", "sales", "support"]
    assert all(told.adapter(name) is not None for name in ("billing", "sales", "support"))
    assert [told.adapter(name) for name in ("", "aaa", "sale", "zzz")] == [None] * 4


@pytest.mark.parametrize(
    "document",
    [
        state(adapter(), novelty=1),
        state(adapter(novelty={"deeply": [{"nested": 1}]})),
        state(adapter(versions=[version(state="Warming", reason="SomeNewReason")])),
        state(engine={"state": "Paused", "novelty": 1}),
        {"schema": "graft.dev/agent/v1", "pod": "serving-0", "engine": {"state": "Starting"}, "ready": False},
        state(adapter(versions=[], active=[], lastAsked=None)),
        state(wantedDigest=None, base=None),
    ],
    ids=["field", "nested field", "state of a version", "engine", "the least", "idle adapter", "before the wanted set"],
)
def test_agents_of_other_releases_are_read(document: dict[str, Any]) -> None:
    assert state_of(document).pod == "serving-0"


def test_long_texts_for_people_are_cut() -> None:
    long = "x" * 100_000
    told = state_of(
        state(
            adapter(versions=[version(message=long, reason=long)]),
            message=long,
            engine={"state": "Down", "message": long},
        )
    )
    kept = told.adapters[0].versions[0]
    assert [len(item) for item in (told.message, told.engine.message, kept.message)] == [MESSAGE_CHARACTERS] * 3
    assert len(kept.reason) == 128
    assert told.message.endswith("x…")


def measured(**fields: Any) -> dict[str, Any]:
    return state(adapter(versions=[version(measured=fields)]))


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "truncated"),
        (b"<html>", "malformed"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe\x00", "malformed"),
        (b'{"schema": "graft.dev/agent/v1", "pod": "\xff"}', "UTF-8"),
        (b'{"schema": "graft.dev/agent/v1", "pod": "p", "x": ' + b"[" * 100_000, "recursion"),
        (state() | {"schema": "graft.dev/agent/v2"}, "schema"),
        (state(ready=None), "ready"),
        (state(ready="yes"), "ready"),
        (state(pod=""), "pod"),
        (state(revision="r" * 1000), "revision"),
        (state(adapter("a" * 254)), r"adapters\[0\].name"),
        (state(adapter("twin"), adapter("twin")), "'twin' occurs twice"),
        (state(adapter(lastAsked="2026-01-01T00:00:00")), "lastAsked"),
        (state(adapter(lastAsked="yesterday")), "lastAsked"),
        (state(adapter(active=[{"number": 1, "weight": 1}] * 65)), "active"),
        (state(adapter(active=[{"number": -1, "weight": 1}])), "number"),
        (state(adapter(versions=[version()] * 65)), "versions of 'support'"),
        (state(adapter(versions=[version(number=10**30)])), "versions of 'support'"),
        (state(adapter(versions=[version(number=True)])), "versions of 'support'"),
        (state(adapter(versions=[version(probes={"of": "x", "total": 1.5})])), "versions of 'support'"),
        (measured(requests=-1), "versions of 'support'"),
        (measured(latency={"100000": 1}), "versions of 'support'"),
        (measured(latency={"fast": 1}), "versions of 'support'"),
        (measured(latency=[1]), "versions of 'support'"),
        (measured(latency={"1": 2**60}), "versions of 'support'"),
        (state(*(adapter(f"a{i}", versions=[], active=[]) for i in range(MAX_ADAPTERS + 2))), "more than 8192"),
        (state(adapter(versions=[version(message="x" * 300_000)])), "take more than"),
    ],
)
def test_what_is_no_state_is_refused_by_name(document: Any, why: str) -> None:
    with pytest.raises(InvalidState, match=why):
        read_state(text(document))


MIB = 2**20
EVERY_KEY = b'{"schema":"graft.dev/agent/v1","pod":"p","engine":{"state":"Ready"},"ready":true,"adapters":['


@pytest.mark.parametrize(
    "document",
    [
        EVERY_KEY + b"1," * (MIB // 2) + b"1]}",
        EVERY_KEY + b"{}," * (MIB // 3) + b"{}]}",
        EVERY_KEY + b'{"name":"a"},' * (MIB // 13) + b'{"name":"a"}]}',
        EVERY_KEY + b'{"n\\u0061me":"a"},' * (MIB // 18) + b'{"name":"a"}]}',
        EVERY_KEY + b'{"name":"a","active":[' + b'{"number":1,"weight":1},' * (MIB // 24) + b"]}]}",
        EVERY_KEY + b'{"name":"a","versions":[' + b"{}," * (MIB // 3) + b"{}]}]}",
        EVERY_KEY + b'{"name":"a","x":[' + b"1," * (MIB // 2) + b"1]}",
        b"[" * MIB,
        b'{"a":' * (MIB // 5),
        b'"' + b"\\u0000" * (MIB // 6),
        b"1" * MIB,
    ],
    ids=[
        "numbers",
        "empty objects",
        "names",
        "escaped names",
        "shares",
        "versions",
        "unknown",
        "arrays",
        "objects",
        "escapes",
        "digits",
    ],
)
def test_a_document_that_is_meant_to_hurt_takes_little_memory(document: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(InvalidState):
        read_state(document)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * MIB


def test_what_is_kept_of_ten_thousand_adapters_is_small() -> None:
    names = iter(range(10_000))
    documents = [text(state(*(adapter(f"customer-{next(names)}") for _ in range(200)))) for _ in range(50)]
    tracemalloc.start()
    kept = [read_state(document) for document in documents]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert sum(len(item.adapters) for item in kept) == 10_000
    assert size / 10_000 < 900, "bytes for each adapter on each pod"
