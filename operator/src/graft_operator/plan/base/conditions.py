"""The conditions of a base.

| type | polarity | True means |
|---|---|---|
| Stalled | abnormal | nothing will change until a person acts |
| Reconciling | abnormal | work is in progress or awaited |
| Ready | normal | the current base answers on every wanted replica |
| Resolved | normal | the source of the current spec has an immutable identity |
| ServingReady | normal | every revision that is needed answers on every replica |
| AdaptersUpToDate | normal | every adapter is served from its current spec on the current base |
| ConcurrencyTested | normal | all adapters at once were answered within the limit; only where a test is asked for |
| GatewayReady | normal | every Gateway that uses the InferencePool accepts it; only where a Gateway is asked for |
| RegistrySafe | normal | no version can overwrite another, and the registry's store lacks nothing that is needed |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from graft_operator.api.base_model import ServingRevision
from graft_operator.api.conditions import Condition, Fact, merge, no, yes
from graft_operator.plan.base.concurrency import ConcurrencyDecision
from graft_operator.plan.base.gateway import GatewayDecision
from graft_operator.plan.base.importing import ImportDecision
from graft_operator.plan.base.registry_safety import registry_fact
from graft_operator.plan.pod_problems import problem_of_pod
from graft_operator.plan.snapshot import BaseSnapshot


def base_conditions(
    seen: BaseSnapshot,
    imported: ImportDecision,
    revisions: Sequence[ServingRevision],
    unserved: Fact | None,
    tested: ConcurrencyDecision,
    gateway: GatewayDecision,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return all conditions of the base. ``unserved`` says why a base that is needed is not served."""
    serving = unserved or serving_fact(seen, revisions)
    ready = ready_fact(imported, revisions, serving_fact(seen, revisions))
    stall = imported.trouble or imported.fact
    facts = {
        "Stalled": yes(stall.reason, stall.message) if imported.stalled else no("Progressing"),
        "Reconciling": reconciling_fact(seen, imported, ready, serving),
        "Ready": ready,
        "Resolved": imported.fact,
        "ServingReady": serving,
        "AdaptersUpToDate": adapters_fact(seen),
        "RegistrySafe": registry_fact(seen),
    }
    if tested.fact is not None:
        facts["ConcurrencyTested"] = tested.fact
    if gateway.fact is not None:
        facts["GatewayReady"] = gateway.fact
    return merge(seen.base.status.conditions, facts, generation=seen.base.metadata.generation, now=now)


def serving_fact(seen: BaseSnapshot, revisions: Sequence[ServingRevision]) -> Fact:
    """Say whether every revision answers on every replica, and what stands in the way of the first that doesn't."""
    if not revisions:
        return no("NotResolved", "there is no base to serve yet")
    if seen.base.spec.serving.replicas == 0:
        return no("NoReplicas", "spec.serving.replicas is 0")
    for revision in revisions:
        if revision.ready_replicas < revision.replicas:
            observed = next((item for item in seen.deployments if item.name == revision.deployment), None)
            why = f": {problem_of_pod(observed.message, 'spec.serving')[1]}" if observed and observed.message else ""
            ready, wanted = revision.ready_replicas, revision.replicas
            return no("PodsNotReady", f"Deployment {revision.deployment}: {ready} of {wanted} pods are ready{why}")
    return yes("Serving", f"{len(revisions)} revision(s) answer on every replica")


def ready_fact(imported: ImportDecision, revisions: Sequence[ServingRevision], serving: Fact) -> Fact:
    """Ready is about the base of the current spec: it is resolved and answers."""
    if imported.fact.status != "True":
        return no(imported.fact.reason, imported.fact.message)
    current = next((item for item in revisions if imported.resolved and item.digest == imported.resolved.digest), None)
    if current is not None and 0 < current.replicas <= current.ready_replicas:
        return yes("Serving", f"revision {current.revision} answers on {current.ready_replicas} replicas")
    return serving if serving.status == "False" else no("PodsNotReady", "no pod answers with the current base yet")


def reconciling_fact(seen: BaseSnapshot, imported: ImportDecision, ready: Fact, serving: Fact) -> Fact:
    """kstatus reads Reconciling before Stalled, so both are never True."""
    if imported.stalled:
        return no("Stalled")
    if seen.base.metadata.is_deleting:
        names = ", ".join(sorted(adapter.name for adapter in seen.adapters)[:5])
        return yes("DeletionBlocked", f"{len(seen.adapters)} adapters still name this base: {names}; delete them first")
    if imported.trouble is not None:
        return yes(imported.trouble.reason, imported.trouble.message)
    if ready.status != "True" and ready.reason != "NoReplicas":
        return yes(ready.reason, ready.message)
    if serving.status != "True" and serving.reason != "NoReplicas":
        return yes(serving.reason, serving.message)
    return no("Settled")


def adapters_fact(seen: BaseSnapshot) -> Fact:
    """Say how many adapters are where the spec and the base want them."""
    total, current = len(seen.adapters), sum(adapter.up_to_date for adapter in seen.adapters)
    if total == current:
        return yes("UpToDate", f"all {total} adapters are up to date")
    late = {
        "behind": [adapter.name for adapter in seen.adapters if not adapter.is_at_rest],
        "pinned to another version": [adapter.name for adapter in seen.adapters if adapter.pinned],
    }
    told = [f"{what}: {', '.join(sorted(names)[:5])}" for what, names in late.items() if names]
    return no("AdaptersBehind", "; ".join([f"{current} of {total} adapters are up to date", *told]))
