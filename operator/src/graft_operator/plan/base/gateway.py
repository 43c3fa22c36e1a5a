"""The InferencePool of a base: when there is one, and what Gateways say of it.

It stands beside the base's Service, over the same pods, and nothing else depends on it: a cluster without its kind
serves as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graft_operator.api.conditions import Condition, Fact, find, no, unknown, yes
from graft_operator.manifests.naming import serving_name
from graft_operator.manifests.workloads.inference_pool import inference_pool
from graft_operator.plan.actions import Action, ApplyObject, DeleteObject
from graft_operator.plan.snapshot import BaseSnapshot

RECHECK_SECONDS: Final = 30.0
"""How often is looked again until a Gateway has taken the pool. It is not watched: its kind need not be there."""

UNMET: Final = {
    "Missing": no(
        "GatewayApiMissing",
        "the cluster does not have inference.networking.k8s.io/v1: install the CustomResourceDefinitions of the Gateway"
        " API inference extension; until then clients reach the base by its Service alone",
    ),
    "Forbidden": no(
        "GatewayApiForbidden",
        "the operator may not read InferencePools: set rbac.inferencePools of its chart to true",
    ),
}
"""What is said where InferencePools can't be made."""
ABSENT: Final = unknown("NoGateway", "the InferencePool is being made")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDecision:
    """What to do about the InferencePool."""

    fact: Fact | None = None
    """Becomes the condition GatewayReady; None where no Gateway is asked for."""
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None


def decide_gateway(seen: BaseSnapshot) -> GatewayDecision:
    """Make the pool that the spec asks for, or take it away; one that somebody else has made is never touched."""
    found, gateway = seen.gateway.pool, seen.base.spec.serving.gateway
    name = serving_name(seen.base.metadata.name)
    is_own = found is not None and found.owner_uid == seen.base.metadata.uid
    if gateway is None:
        gone = (DeleteObject("InferencePool", name, found.uid),) if found is not None and is_own else ()
        return GatewayDecision(actions=gone)
    if seen.gateway.api == "Unknown":
        told = find(seen.base.status.conditions, "GatewayReady")
        fact = ABSENT if told is None else Fact(told.status, told.reason, told.message)
        return GatewayDecision(fact=fact, requeue_after=RECHECK_SECONDS)
    if unmet := UNMET.get(seen.gateway.api):
        return GatewayDecision(fact=unmet, requeue_after=RECHECK_SECONDS)
    if found is not None and not is_own:
        taken = f"an InferencePool {name} exists that Graft has not made for this base: delete or rename it"
        return GatewayDecision(fact=no("PoolNameTaken", taken), requeue_after=RECHECK_SECONDS)
    fact = ABSENT if found is None else acceptance(name, found.parents)
    return GatewayDecision(
        fact=fact,
        actions=(ApplyObject(inference_pool(seen.base, gateway)),),
        requeue_after=None if fact.status == "True" else RECHECK_SECONDS,
    )


def acceptance(pool: str, parents: Mapping[str, tuple[Condition, ...]]) -> Fact:
    """Say whether every Gateway that uses the pool can, from the conditions that each has written into its status."""
    if not parents:
        return unknown("NoGateway", f"no Gateway uses InferencePool {pool} yet: name it in backendRefs of an HTTPRoute")
    for gateway, conditions in sorted(parents.items()):
        for kind in ("Accepted", "ResolvedRefs"):
            condition = find(conditions, kind)
            if condition is not None and condition.status == "False":
                return no(condition.reason, f"Gateway {gateway}: {condition.message or kind + ' is False'}")
    waiting = [name for name, conditions in sorted(parents.items()) if not accepts(conditions)]
    if waiting:
        return unknown("Pending", f"Gateway {waiting[0]} has not said yet whether it accepts InferencePool {pool}")
    return yes("Accepted", f"InferencePool {pool} is used by {', '.join(sorted(parents))}")


def accepts(conditions: tuple[Condition, ...]) -> bool:
    """Whether a Gateway has accepted the pool."""
    accepted = find(conditions, "Accepted")
    return accepted is not None and accepted.status == "True"
