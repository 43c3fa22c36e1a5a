"""What is said under a pin: whether the spec asks for the pinned version, and what stays told while that is unclear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PLATFORM,
    adapter,
    answering_pod,
    base_id,
    base_model,
    digest,
    imported_adapter,
    pod,
    resolved_base,
    seen,
    served_version,
    version,
)

from graft_operator.api.adapter_status import LoraAdapterStatus, WarmStart
from graft_operator.api.base_model import Drift
from graft_operator.api.conditions import PINNED, Condition, find
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.adapter.fast_path import is_settled
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.known import Unknown
from graft_operator.plan.rollout.plan import served
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.recipe import fulfilling_recipes
from graft_operator.plan.training.versions import summary
from graft_registry.documents import StoredVersion

ROWS = digest("rows of a ConfigMap")
SPEC = adapter(version=1).spec
UNCLEAR: dict[str, dict[str, Any]] = {
    "rows that are being read": {"unknown": Unknown(), "dataset_digest": None},
    "rows that are gone": {"dataset_problem": "there is no ConfigMap rows", "dataset_digest": None},
    "a registry that is away": {"unknown": Unknown("RegistryUnavailable", "it is away")},
}


def recipe_on(base: str = "A", rows: str | None = ROWS, warm_start: WarmStart | None = None) -> str:
    """Return the recipe of the pinned spec, on some base, with some rows."""
    return fulfilling_recipes(SPEC, base_digest=base_id(base), dataset_digest=rows, warm_start=warm_start)[0]


ASKED_FOR = version(1, recipe=recipe_on())
OTHER = version(1, recipe=digest("of an earlier spec"))
NEWER = version(2, recipe=recipe_on())


OF_SPEC_BEFORE = Condition(
    type="UpToDate", status="True", reason="UpToDate", message="version 3", last_transition_time=NOW
)


def pinned_to(stored: StoredVersion, *others: StoredVersion, **status: Any) -> AdapterSnapshot:
    """Return what is seen of an adapter that was just pinned to a version, which answers already."""
    target = served_version(1, recipe=stored.manifest.recipe)
    known = tuple(summary(item) for item in (*others, stored))
    subject = adapter(version=1, meta={"generation": 2}, status={"conditions": [OF_SPEC_BEFORE.to_wire()]})
    serving = subject.status.serving.model_copy(update={"mode": "MultiAdapter", "target": target})
    filled = subject.status.model_copy(update={"versions": known, "serving": serving} | status)
    subject = subject.model_copy(update={"status": filled})
    pods = (answering_pod(stored),)
    return seen(subject, recipe=None, pinned=stored, live=stored, dataset_digest=ROWS, pods=pods)


def lived(given: AdapterSnapshot) -> AdapterSnapshot:
    """Return the same world with the status that plans lead to."""
    for _ in range(4):
        given = with_status(given, status_of(given))
    return given


def with_status(given: AdapterSnapshot, status: LoraAdapterStatus) -> AdapterSnapshot:
    return replace(given, adapter=given.adapter.model_copy(update={"status": status}))


def status_of(given: AdapterSnapshot) -> LoraAdapterStatus:
    status = plan_adapter(given, NOW, PLATFORM).status
    assert isinstance(status, LoraAdapterStatus)
    return status


def told(status: LoraAdapterStatus) -> Condition:
    condition = find(status.conditions, "UpToDate")
    assert condition is not None
    return condition


def unsettled(given: AdapterSnapshot) -> AdapterSnapshot:
    """Return the same world with a version before that is still loaded, so that no pass over it is a short one."""
    status = given.adapter.status
    serving = status.serving.model_copy(update={"previous": served_version(3)})
    return with_status(given, status.model_copy(update={"serving": serving}))


@pytest.mark.parametrize("fields", UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize("given", [pinned_to(ASKED_FOR), pinned_to(OTHER, NEWER)], ids=["asked for", "another"])
def test_what_was_told_stays_while_it_is_unclear(given: AdapterSnapshot, fields: dict[str, Any]) -> None:
    before = lived(given)
    assert before.adapter.status.recipe == recipe_on()
    unclear = unsettled(replace(before, **fields))
    assert not is_settled(unclear)
    after = status_of(unclear)
    assert told(after) == told(before.adapter.status)
    assert after.recipe == recipe_on()


@pytest.mark.parametrize("fields", UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (pinned_to(ASKED_FOR), ("True", "UpToDate", "version 1")),
        (
            pinned_to(OTHER, NEWER),
            ("False", PINNED, "version 1 is pinned; the spec asks for another one (version 2)"),
        ),
    ],
    ids=["asked for", "another"],
)
def test_a_new_pin_is_unknown_while_it_is_unclear_and_told_right_after(
    given: AdapterSnapshot, fields: dict[str, Any], verdict: tuple[str, str, str]
) -> None:
    unclear = lived(replace(given, **fields))
    found = told(unclear.adapter.status)
    assert (found.status, found.reason) == ("Unknown", PINNED)
    assert unclear.adapter.status.recipe is None
    clear = replace(given, adapter=unclear.adapter)
    assert not is_settled(clear)
    clear = lived(clear)
    found = told(clear.adapter.status)
    assert (found.status, found.reason, found.message) == verdict
    assert clear.adapter.status.recipe == recipe_on()
    assert is_settled(clear)


def test_a_pin_says_that_no_limit_is_applied_and_how_to_apply_them_again() -> None:
    evaluated = find(status_of(pinned_to(OTHER, NEWER)).conditions, "Evaluated")
    assert evaluated is not None
    assert evaluated.message == (
        "spec.version pins version 1, so no limit of spec.evaluation is applied to it;"
        " remove spec.version to apply the limits again"
    )


def test_what_was_told_of_another_spec_does_not_stay() -> None:
    before = lived(pinned_to(ASKED_FOR))
    changed = before.adapter.metadata.model_copy(update={"generation": 3})
    given = replace(before, adapter=before.adapter.model_copy(update={"metadata": changed}), unknown=Unknown())
    status = status_of(given)
    assert (told(status).status, told(status).reason, status.recipe) == ("Unknown", PINNED, None)


def test_a_pod_that_comes_back_does_not_make_a_pin_up_to_date() -> None:
    before = lived(pinned_to(OTHER, NEWER))
    away = replace(before, pods=(pod(),), unknown=Unknown())
    assert told(status_of(away)).reason == "RollingOut"
    back = replace(before, adapter=with_status(away, status_of(away)).adapter, unknown=Unknown())
    assert told(status_of(back)).status == "Unknown"


@pytest.mark.parametrize(
    ("subject", "verdict"),
    [
        pytest.param(
            adapter(version=1, training={"objective": "DPO", "preference": {"referenceVersion": 3}}),
            ("False", "version 1 is pinned; what the spec asks for can't be made now"),
            id="a reference that is not in the registry",
        ),
        pytest.param(
            imported_adapter(version=1, source={"interval": "1h"}),
            ("Unknown", "version 1 is pinned; what the spec asks for can't be told now"),
            id="a source that nobody has looked at",
        ),
    ],
)
def test_a_pin_of_a_spec_without_a_way_is_told_as_such_and_settles(
    subject: LoraAdapter, verdict: tuple[str, str]
) -> None:
    given = pinned_to(OTHER)
    given = lived(replace(given, adapter=given.adapter.model_copy(update={"spec": subject.spec})))
    found = told(given.adapter.status)
    assert (found.reason, found.status, found.message) == (PINNED, *verdict)
    assert is_settled(given)


DRIFT = Drift.model_validate({"previous": base_id("A"), "verdict": "Near", "relativeChange": "0.154"})
ON_B = base_model(resolved="B", serves=("A", "B"), status={"resolved": resolved_base("B", drift=DRIFT)})
START = version(9)
BEGUN = WarmStart(number=9, digest=START.digest)
ORIGIN = {"number": 9, "manifestDigest": START.digest}
WARM = version(1, base="B", recipe=recipe_on("B", warm_start=BEGUN), warmStart=ORIGIN)
REJECTED_WARM = version(1, base="B", recipe=WARM.manifest.recipe, warmStart=ORIGIN, loss=3.0)
COLD = version(2, base="B", recipe=recipe_on("B"))


def pinned_on_b(stored: StoredVersion, *others: StoredVersion) -> AdapterSnapshot:
    """Return the same on another base, which is near the one that the adapter comes from."""
    given = pinned_to(stored, *others)
    serving = given.adapter.status.serving.model_copy(update={"target": served(stored)})
    given = with_status(given, given.adapter.status.model_copy(update={"serving": serving}))
    return replace(given, base=ON_B, pods=(answering_pod(stored, base="B"),))


@pytest.mark.parametrize(
    ("given", "asked_for"),
    [
        pytest.param(pinned_on_b(WARM), True, id="a warm start"),
        pytest.param(pinned_on_b(WARM, COLD), False, id="a warm start beside a cold one"),
        pytest.param(pinned_on_b(REJECTED_WARM), False, id="a warm start that its gate would reject"),
    ],
)
def test_a_pinned_warm_start_settles(given: AdapterSnapshot, asked_for: bool) -> None:
    given = lived(given)
    assert (told(given.adapter.status).reason != PINNED) == asked_for
    assert is_settled(given)
    other_rows = replace(given, dataset_digest=digest("other rows"))
    assert is_settled(other_rows) != asked_for
    lied = "UpToDate" if not asked_for else PINNED
    assert not is_settled(with_status(given, retold(given.adapter, lied)))


def retold(subject: LoraAdapter, reason: str) -> LoraAdapterStatus:
    conditions = tuple(
        item.model_copy(update={"reason": reason}) if item.type == "UpToDate" else item
        for item in subject.status.conditions
    )
    return subject.status.model_copy(update={"conditions": conditions})
