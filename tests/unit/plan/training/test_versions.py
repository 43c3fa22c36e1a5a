"""The bounded list of versions in status."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import base_id, digest, served_version, version

from graft_operator.api.adapter_status import VERSIONS_KEPT, AdapterServingStatus, LoraAdapterStatus, Version
from graft_operator.api.conditions import PINNED
from graft_operator.plan.training.gate import GateDecision
from graft_operator.plan.training.versions import (
    as_first_told,
    entry_of,
    home_digest,
    judged,
    known_versions,
    of_spec,
    record,
    served_before,
    summary,
    with_served,
)
from graft_registry.documents import StoredVersion

PASSED = GateDecision(True, "Passed", "fine")
FAILED = GateDecision(False, "WorseThanBase", "too bad")


def numbers(count: int) -> tuple[int, ...]:
    versions: tuple[Version, ...] = ()
    for number in range(1, count + 1):
        versions = record(versions, summary(version(number)))
    return tuple(entry.number for entry in versions)


def test_newest_first() -> None:
    assert numbers(3) == (3, 2, 1)


def test_only_so_many_are_kept() -> None:
    assert numbers(VERSIONS_KEPT + 5) == tuple(range(VERSIONS_KEPT + 5, 5, -1))


def test_the_recorded_one_is_kept_however_old_it_is() -> None:
    versions = tuple(summary(version(number)) for number in range(20, 20 - VERSIONS_KEPT, -1))
    kept = record(versions, summary(version(1)))
    assert len(kept) == VERSIONS_KEPT
    assert kept[-1].number == 1


def test_an_entry_takes_the_place_of_its_predecessor() -> None:
    versions = record(record((), summary(version(1))), summary(version(1), "Rejected", "too bad"))
    assert [(entry.number, entry.state) for entry in versions] == [(1, "Rejected")]


def test_losses_are_told_to_four_digits() -> None:
    entry = summary(version(1, loss=1.23456, base_loss=None))
    assert (entry.eval_loss, entry.base_eval_loss) == ("1.2346", None)


@pytest.mark.parametrize(
    ("seconds", "rate", "told"),
    [
        (12.4, 5000.0, (12, 62_000)),
        (0.0, 0.0, (0, 0)),
        (12.4, None, (12, None)),
        (None, 5000.0, (None, None)),
        (-1.0, 5000.0, (None, None)),
        (1e300, 1e300, (None, None)),
        (1e9, 1e9, (1_000_000_000, None)),
    ],
)
def test_what_a_training_took_is_told_in_numbers_that_the_api_server_takes(
    seconds: float | None, rate: float | None, told: tuple[int | None, int | None]
) -> None:
    entry = summary(version(metrics={"trainSeconds": seconds, "tokensPerSecond": rate}))
    assert (entry.train_seconds, entry.train_tokens) == told


def test_the_gate_decides_the_state_unless_the_pods_have() -> None:
    refused = summary(version(1), "Refused", "too wide")
    assert judged(version(1), PASSED, None).state == "Published"
    assert judged(version(1), FAILED, None).state == "Rejected"
    assert judged(version(1), PASSED, refused) == refused
    assert judged(version(1), PASSED, summary(version(1), "Rejected")).state == "Published"


def test_the_registry_is_asked_only_when_the_status_knows_nothing() -> None:
    history = (version(2), version(1))
    assert [entry.number for entry in known_versions((), history)] == [2, 1]
    known = (summary(version(1), "Refused"),)
    assert known_versions(known, history) == known


def test_a_version_that_passed_keeps_the_words_of_its_first_verdict() -> None:
    """Once it is live itself there is nothing to compare it with."""
    first = summary(version(2), "Published", "10 % better than version 1's")
    later = GateDecision(True, "Passed", "fine")
    assert as_first_told(later, first).message == "10 % better than version 1's"
    assert as_first_told(FAILED, first) == FAILED
    assert as_first_told(later, summary(version(2), "Rejected", "too bad")) == later
    assert as_first_told(later, summary(version(2))) == later
    assert as_first_told(later, None) == later


def test_a_pin_leaves_no_words_of_the_gate() -> None:
    assert judged(version(1), GateDecision(True, PINNED, "it is pinned"), None).message == ""


def test_an_entry_remembers_its_spec_while_another_one_is_asked_for() -> None:
    stored = version(1)
    entry = of_spec(summary(stored), stored.manifest.recipe, digest("spec"))
    assert entry.spec_digest == digest("spec")
    other = of_spec(summary(stored), digest("another recipe"), digest("another spec"))
    assert record((entry,), other)[0].spec_digest == digest("spec")


HOMES: dict[str, tuple[LoraAdapterStatus, tuple[StoredVersion, ...], str | None]] = {
    "nowhere yet": (LoraAdapterStatus(), (), None),
    "where it is served": (
        LoraAdapterStatus(
            serving=AdapterServingStatus(target=served_version(1, "A")), versions=(summary(version(2, base="B")),)
        ),
        (),
        "A",
    ),
    "where its newest good version was trained": (
        LoraAdapterStatus(versions=(summary(version(3, base="B"), "Rejected"), summary(version(2, base="A")))),
        (),
        "A",
    ),
    "where the registry's newest version was trained": (LoraAdapterStatus(), (version(2, base="B"),), "B"),
}


@pytest.mark.parametrize(("status", "history", "base"), HOMES.values(), ids=HOMES)
def test_the_base_that_an_adapter_lives_on(
    status: LoraAdapterStatus, history: tuple[StoredVersion, ...], base: str | None
) -> None:
    assert home_digest(status, history) == (base_id(base) if base else None)


def test_entries_are_found_by_number() -> None:
    versions = (summary(version(2)), summary(version(1)))
    assert entry_of(versions, 1) == versions[1]
    assert entry_of(versions, 3) is None


def entry(number: int, base: str = "A", **fields: Any) -> Version:
    return summary(version(number, base=base)).model_copy(update={"served": True} | fields)


SERVED_BEFORE: dict[str, tuple[tuple[Version, ...], int | None]] = {
    "the newest of several": ((entry(3), entry(1), entry(2)), 2),
    "not one that was never served": ((entry(2, served=None), entry(1)), 1),
    "not one that was refused since": ((entry(2, state="Refused"), entry(1)), 1),
    "not one that was rolled back": ((entry(2, state="RolledBack"), entry(1)), 1),
    "not one of another base": ((entry(2, base="B"), entry(1)), 1),
    "not a newer one": ((entry(4),), None),
    "not the version itself": ((entry(3),), None),
    "none is known": ((), None),
}


@pytest.mark.parametrize(("versions", "number"), SERVED_BEFORE.values(), ids=SERVED_BEFORE)
def test_what_was_served_before_version_3(versions: tuple[Version, ...], number: int | None) -> None:
    found = served_before(versions, served_version(3))
    assert found == (None if number is None else served_version(number))


def test_that_a_version_was_served_is_kept_when_it_is_judged_again() -> None:
    versions = with_served((summary(version(1)),), 1)
    assert [item.served for item in versions] == [True]
    assert [item.served for item in record(versions, summary(version(1), "Rejected", "too bad"))] == [True]
    assert with_served(versions, 1) is versions
    assert with_served(versions, None) is versions
    assert with_served(versions, 7) is versions
