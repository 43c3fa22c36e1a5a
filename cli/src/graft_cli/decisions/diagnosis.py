"""What ``kubectl graft doctor`` makes of what it has found: each check with its verdict and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from graft_cli.decisions.rights import RIGHTS, Right
from graft_operator.api.conditions import Condition
from graft_operator.api.meta import VERSION

CRDS: Final = ("basemodels.graft.dev", "loraadapters.graft.dev")

UNFIT: Final = "StoreUnfit"
"""Reason of RegistrySafe where something is missing that Graft needs."""

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Lease:
    """The operator's lease."""

    holder: str
    renewed: datetime | None
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found in the cluster. What this person may not see is None, and is named in ``hidden``."""

    server_version: str = ""
    problem: str = ""
    """Why the cluster can't be asked at all."""
    namespace: str = ""
    crds: Mapping[str, tuple[str, ...]] | None = None
    """Served versions by the CRDs' names."""
    lease: Lease | None = None
    lease_name: str = ""
    hidden: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    """What the API server could not tell, and why."""
    rights: Mapping[Right, bool] = field(default_factory=dict)
    gpus: Mapping[str, int] | None = None
    """Allocatable GPUs by the nodes' names, of nodes that have some."""
    registry: Condition | None = None
    """What the bases of the namespace say of the registry's store; None where no base has said anything yet."""


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict."""

    name: str
    verdict: Verdict
    message: str
    fix: str = ""


def diagnose(facts: Facts, now: datetime) -> tuple[Check, ...]:
    """Return all checks; where the cluster does not answer, that is the only one."""
    if facts.problem:
        return (Check("cluster", "failed", facts.problem, "see whether `kubectl cluster-info` works"),)
    return (
        Check("cluster", "ok", f"Kubernetes {facts.server_version}"),
        *crd_checks(facts),
        operator_check(facts, now),
        *right_checks(facts),
        *registry_checks(facts),
        gpu_check(facts),
    )


def crd_checks(facts: Facts) -> tuple[Check, ...]:
    """Say whether both kinds are served in the version that we speak."""
    if facts.crds is None:
        return (unseen("CRDs", facts),)
    return tuple(crd_check(name, facts.crds.get(name)) for name in CRDS)


def crd_check(name: str, versions: tuple[str, ...] | None) -> Check:
    """Say whether one kind is served."""
    if versions is None:
        return Check(f"CRD {name}", "failed", "is not installed", "install the chart, or `kubectl apply -f crds/`")
    if VERSION not in versions:
        message = f"serves {', '.join(versions) or 'nothing'}, and this program speaks {VERSION}"
        return Check(f"CRD {name}", "failed", message, "take the kubectl-graft of the operator's release")
    return Check(f"CRD {name}", "ok", f"serves {', '.join(versions)}")


def operator_check(facts: Facts, now: datetime) -> Check:
    """Say whether an operator holds its lease: without one nothing happens, and nothing says so."""
    name, lease = f"operator (Lease {facts.lease_name})", facts.lease
    where = "or say where it runs with --operator-namespace and --lease"
    if is_unseen("operator", facts):
        return unseen("operator", facts)
    if lease is None:
        return Check(name, "failed", "there is no such lease", f"install the chart, {where}")
    if not lease.holder:
        return Check(name, "failed", "nobody holds it", "see why the operator's pod does not run")
    if lease.renewed is None or now - lease.renewed > timedelta(seconds=2 * lease.seconds):
        last = f"{lease.renewed:%Y-%m-%dT%H:%M:%SZ}" if lease.renewed else "never"
        return Check(name, "failed", f"{lease.holder} has not renewed it since {last}", "see its pod's log")
    return Check(name, "ok", f"held by {lease.holder}")


def right_checks(facts: Facts) -> tuple[Check, ...]:
    """Say of each verb whether this person may use it in the namespace."""
    if is_unseen("rights", facts):
        return (unseen("rights", facts),)
    checks = []
    for verb, needed in RIGHTS.items():
        missing = [str(right) for right in needed if not facts.rights.get(right, False)]
        if missing:
            fix = f"ask for the right in namespace {facts.namespace}: docs/cli.md lists them"
            checks.append(Check(f"may {verb}", "warning", f"you may not {', '.join(missing)}", fix))
        else:
            checks.append(Check(f"may {verb}", "ok", f"in namespace {facts.namespace}"))
    return tuple(checks)


def registry_checks(facts: Facts) -> tuple[Check, ...]:
    """Say what the operator has found of the registry's store; nothing before a base tells it."""
    if is_unseen("registry", facts):
        return (unseen("registry", facts),)
    if facts.registry is None:
        return ()
    fix = "`python -m graft_registry doctor` tries it anew and says it all: docs/object-store.md"
    unfit: Verdict = "failed" if facts.registry.reason == UNFIT else "warning"
    return (Check("registry", "ok" if facts.registry.status == "True" else unfit, facts.registry.message, fix),)


def gpu_check(facts: Facts) -> Check:
    """Say what GPUs nodes offer."""
    if facts.gpus is None:
        return unseen("GPUs", facts)
    if not facts.gpus:
        fix = "trainings and engines that ask for one stay pending; see the device plugin of your GPUs"
        return Check("GPUs", "warning", "no node offers one", fix)
    listed = ", ".join(f"{node} {count}" for node, count in sorted(facts.gpus.items()))
    return Check("GPUs", "ok", f"{sum(facts.gpus.values())} on {len(facts.gpus)} nodes ({listed})")


def is_unseen(what: str, facts: Facts) -> bool:
    """Whether something could not be looked at."""
    return what in facts.hidden or what in facts.failed


def unseen(what: str, facts: Facts) -> Check:
    """Return the verdict on what this person may not see, or what the API server could not tell."""
    if (problem := facts.failed.get(what)) is not None:
        return Check(what, "failed", problem, "see whether `kubectl cluster-info` works, and try again")
    why = facts.hidden.get(what, "may not be seen")
    return Check(what, "warning", f"not known: {why}", "ask a cluster administrator to run this")


def is_healthy(checks: tuple[Check, ...]) -> bool:
    """Whether nothing has failed."""
    return all(check.verdict != "failed" for check in checks)
