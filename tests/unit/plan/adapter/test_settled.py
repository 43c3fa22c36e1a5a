"""Which adapters need nothing from the registry: those whose status says that all is done, for the present spec."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PARITY,
    PLATFORM,
    adapter,
    answering_pod,
    base_model,
    digest,
    on_pod,
    pod,
    recipe_of,
    resolved_base,
    seen,
    served_version,
    serving_revision,
    version,
)

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.conditions import no, unknown, yes
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.adapter.fast_path import is_settled
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.known import Unknown
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.versions import summary
from graft_registry.documents import StoredVersion

NEVER = base_model(resolved="B", serves=("A", "B"), readaptation={"policy": "Never"})


def lived(given: AdapterSnapshot) -> LoraAdapter:
    """Return the adapter with the status that its plans have led to, with all that it needed from the registry."""
    for _ in range(6):
        plan = plan_adapter(given, NOW, PLATFORM)
        assert isinstance(plan.status, LoraAdapterStatus)
        given = replace(given, adapter=given.adapter.model_copy(update={"status": plan.status}))
    return given.adapter


def served(subject: LoraAdapter | None = None, **fields: Any) -> LoraAdapter:
    """Return an adapter that is served, and has been for long."""
    subject = subject or adapter()
    stored: StoredVersion = fields.pop("stored", None) or version(1, recipe=recipe_of(subject))
    serving = {"mode": "MultiAdapter", "target": served_version(1, recipe=stored.manifest.recipe)}
    status = subject.status.model_copy(
        update={"serving": subject.status.serving.model_copy(update=serving), "versions": (summary(stored),)}
    )
    subject = subject.model_copy(update={"status": status})
    pods = (answering_pod(stored),)
    return lived(seen(subject, **{"published": stored, "live": stored, "pods": pods} | fields))


def with_status(subject: LoraAdapter, **changes: Any) -> LoraAdapter:
    return subject.model_copy(update={"status": subject.status.model_copy(update=changes)})


def with_serving(subject: LoraAdapter, **changes: Any) -> LoraAdapter:
    return with_status(subject, serving=subject.status.serving.model_copy(update=changes))


def with_spec(subject: LoraAdapter, other: LoraAdapter) -> LoraAdapter:
    return subject.model_copy(update={"spec": other.spec})


def now_told(subject: LoraAdapter, kind: str, fact: Any) -> LoraAdapter:
    conditions = tuple(
        item.model_copy(update={"status": fact.status, "reason": fact.reason}) if item.type == kind else item
        for item in subject.status.conditions
    )
    return with_status(subject, conditions=conditions)


SERVED = served()
ON_B = base_model(resolved="B", serves=("A", "B"))
UNSERVED = adapter(serving={"mode": "None"})
V1_UNSERVED = version(1, recipe=recipe_of(UNSERVED))
PINNED = adapter(version=1)
PINNED_V1 = served(PINNED, pinned=version(1, recipe=recipe_of(PINNED)))
OF_OTHER = version(1, recipe=recipe_of(adapter(lora={"rank": 8})))
PINNED_TO_OTHER = served(PINNED, stored=OF_OTHER, pinned=OF_OTHER, published=None)
OF_MERGED = adapter(serving={"mode": "Merged"})
V1_MERGED = version(1, recipe=recipe_of(OF_MERGED), merge=PARITY)
SUSPENDED = lived(seen(adapter(suspend=True)))
PUBLISHED = lived(seen(with_status(UNSERVED, versions=(summary(V1_UNSERVED),)), published=V1_UNSERVED))
WITHOUT_A_PLACE = base_model(status={"serving": (serving_revision(not_resident=("support",)),)})
ON_DEMAND = with_spec(SERVED, adapter(serving={"residency": "OnDemand"}))
NOT_LOADED = with_serving(now_told(ON_DEMAND, "Ready", no("NotResident")), loaded=0)
FAILING = pod("pod-1", on_pod(version(1, recipe=recipe_of(adapter())), "Failing"), active=(1,))
KEPT = served(base=NEVER, kept_base=resolved_base("A"))


@dataclass(frozen=True, kw_only=True)
class Case:
    given: AdapterSnapshot
    settled: bool


def looked_at(subject: LoraAdapter, **fields: Any) -> AdapterSnapshot:
    """Return what is seen without the registry: by default a pod that answers with what the status says."""
    target = subject.status.serving.target
    pods = () if target is None else (answering_pod(target),)
    return seen(subject, **{"recipe": None, "pods": pods} | fields)


def yes_for(subject: LoraAdapter, **fields: Any) -> Case:
    return Case(given=looked_at(subject, **fields), settled=True)


def no_for(subject: LoraAdapter, **fields: Any) -> Case:
    return Case(given=looked_at(subject, **fields), settled=False)


CASES = {
    "one that is served": yes_for(SERVED),
    "a new one": no_for(adapter()),
    "another spec": no_for(with_spec(SERVED, adapter(lora={"rank": 8}))),
    "a spec that nobody has looked at": no_for(
        SERVED.model_copy(update={"metadata": SERVED.metadata.model_copy(update={"generation": 2})})
    ),
    "another base": no_for(SERVED, base=ON_B),
    "a base that is gone": no_for(SERVED, base=None),
    "a base that is being resolved": no_for(SERVED, base=base_model(resolved=None)),
    "other rows": no_for(SERVED, dataset_digest=digest("other rows")),
    "other rows to evaluate with": no_for(SERVED, evaluation_digest=digest("other rows")),
    "rows that are gone": no_for(SERVED, dataset_problem="there is no ConfigMap rows"),
    "rows that are being read": no_for(SERVED, unknown=Unknown()),
    "one whose version has vanished": no_for(SERVED, is_lost=True),
    "a stall": no_for(now_told(SERVED, "Stalled", yes("Diverged"))),
    "work in progress": no_for(now_told(SERVED, "Reconciling", yes("RollingOut"))),
    "one that has stopped to answer": no_for(now_told(SERVED, "Ready", no("RollingOut"))),
    "one on demand that is not loaded": yes_for(NOT_LOADED, pods=(pod(),), base=WITHOUT_A_PLACE),
    "one on demand that has been given a place": no_for(NOT_LOADED, pods=(pod(),)),
    "one on demand that the pods have not let go": no_for(NOT_LOADED, base=WITHOUT_A_PLACE),
    "one that loses its place": no_for(ON_DEMAND, base=WITHOUT_A_PLACE),
    "one that no pod answers with any more": no_for(SERVED, pods=(pod(),)),
    "one of which a pod says more": no_for(SERVED, pods=(FAILING,)),
    "one that is behind": no_for(now_told(SERVED, "UpToDate", no("RollingOut"))),
    "a version that the status does not know": no_for(with_status(SERVED, versions=())),
    "a version that was rolled back": no_for(
        with_status(SERVED, versions=(summary(version(1, recipe=recipe_of(adapter())), "RolledBack"),))
    ),
    "a version in a state of a newer release": no_for(
        with_status(SERVED, versions=(SERVED.status.versions[0].model_copy(update={"state": "Quarantined"}),))
    ),
    "an alias that points to another": no_for(with_serving(SERVED, target=served_version(2))),
    "an alias that points to another of that number": no_for(
        with_serving(SERVED, target=served_version(1, recipe=digest("other")))
    ),
    "a rollback window that is open": no_for(with_serving(SERVED, previous=served_version(1))),
    "a version that a merged training has made": yes_for(
        served(stored=version(1, recipe=recipe_of(OF_MERGED), merge=PARITY))
    ),
    "a method that was chosen": yes_for(served(adapter(method="Auto"), stored=version(1, recipe=recipe_of(adapter())))),
    "one that is published only": yes_for(PUBLISHED),
    "one that is published only, with another spec": no_for(
        with_spec(PUBLISHED, adapter(serving={"mode": "None"}, lora={"rank": 8}))
    ),
    "one that is to be published only, and was served": no_for(with_spec(SERVED, UNSERVED)),
    "one that is suspended and was never trained": yes_for(SUSPENDED),
    "one that is suspended, whose base has changed": no_for(SUSPENDED, base=ON_B),
    "one that is not suspended any more": no_for(with_spec(SUSPENDED, adapter())),
    "one that is suspended and served": yes_for(served(adapter(suspend=True))),
    "one that is pinned": yes_for(served(PINNED, pinned=version(1, recipe=recipe_of(PINNED)))),
    "one that is pinned, whatever has become of its rows": yes_for(
        served(PINNED, pinned=version(1, recipe=recipe_of(PINNED))), dataset_problem="gone"
    ),
    "one that is pinned, whose base is gone": no_for(
        served(PINNED, pinned=version(1, recipe=recipe_of(PINNED))), base=None
    ),
    "one that is pinned to another version": no_for(
        with_spec(served(PINNED, pinned=version(1, recipe=recipe_of(PINNED))), adapter(version=2))
    ),
    "one that is pinned, whose base asks for another by now": no_for(PINNED_V1, base=ON_B),
    "one that is pinned, whose spec asks for another": yes_for(PINNED_TO_OTHER),
    "one that is pinned, said to be up to date by an earlier release": no_for(
        now_told(PINNED_TO_OTHER, "UpToDate", yes("UpToDate"))
    ),
    "one that is pinned, whose spec asks for it by now": no_for(
        with_spec(PINNED_TO_OTHER, adapter(version=1, lora={"rank": 8}))
    ),
    "one that is pinned, whose spec could not be told before": no_for(
        now_told(PINNED_V1, "UpToDate", unknown("Pinned"))
    ),
    "one that is pinned, whose spec can't be told yet": yes_for(
        now_told(PINNED_V1, "UpToDate", unknown("Pinned")), unknown=Unknown()
    ),
    "one that is pinned from now on": no_for(with_spec(SERVED, PINNED)),
    "one that policy Never keeps on its base": yes_for(KEPT, base=NEVER),
    "one that it keeps no longer": no_for(KEPT, base=ON_B),
    "one that it keeps, whose spec has changed": no_for(with_spec(KEPT, adapter(lora={"rank": 8})), base=NEVER),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_settled(case: Case) -> None:
    assert is_settled(case.given) == case.settled


def test_a_merged_model_is_settled_once_it_is_served() -> None:
    moved = with_serving(
        SERVED, mode="Merged", target=served_version(1, recipe=V1_MERGED.manifest.recipe, merge=PARITY)
    )
    merged = with_spec(with_status(moved, versions=(summary(V1_MERGED),)), OF_MERGED)
    pods = (answering_pod(V1_MERGED),)
    assert is_settled(looked_at(merged, merged_pods=pods, pods=()))
    assert not is_settled(looked_at(merged, merged_pods=(), pods=()))
    assert not is_settled(looked_at(with_serving(merged, mode="MultiAdapter"), merged_pods=pods, pods=()))
