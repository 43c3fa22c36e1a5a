"""The patch of a spec for each verb that changes one. Each says what it does, or why it makes no sense now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graft_cli.client.objects import Adapter
from graft_cli.decisions.gitops import how_to_unset
from graft_cli.decisions.tree import canary_of
from graft_cli.decisions.versions import readable, told_version
from graft_cli.errors import Refused
from graft_operator.api.adapter_status import Version
from graft_operator.api.conditions import find
from graft_operator.manifests.labels import RETRY
from graft_operator.plan.imports.checks import is_unservable
from graft_operator.plan.training.gate import loosened


@dataclass(frozen=True, slots=True)
class Change:
    """A JSON merge patch, and what it does in words."""

    patch: dict[str, Any]
    says: str
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> dict[str, Any]:
        """The part of the patch that a Git repository would hold; empty for annotations."""
        return dict(self.patch.get("spec") or {})


def changeable(adapter: Adapter) -> Adapter:
    """Return the adapter. Raises Refused for one that nobody serves or trains any more."""
    if adapter.metadata.is_deleting:
        raise Refused(f"{adapter.metadata.name} is being deleted, so a change would have no effect")
    return adapter


def rollback(adapter: Adapter, to: int | None) -> Change:
    """Pin an older version: the given one, or the newest good one before the one that is served."""
    readable(adapter)
    name = adapter.metadata.name
    canary = canary_of(adapter.status)
    if to is None and canary is not None:
        fix = f"`kubectl graft abort {name}` ends it at once; `rollback --to N` pins a version of your choice"
        raise Refused(f"version {canary.target} of {name} is a canary and does not serve yet", fix=fix)
    if to is None and _current(adapter) is None:
        raise Refused(f"nothing of {name} is served", fix=f"name a version: `kubectl graft rollback {name} --to N`")
    return pin(adapter, to if to is not None else _version_before(adapter))


def pin(adapter: Adapter, number: int) -> Change:
    """Pin a version; it is served at once, and nothing is trained meanwhile."""
    readable(adapter)
    name, known = adapter.metadata.name, adapter.status.versions
    if adapter.pinned == number:
        raise Refused(f"spec.version of {name} pins version {number} already")
    entry = told_version(adapter, number)
    if entry is None and (not known or number > min(version.number for version in known)):
        listed = ", ".join(str(version.number) for version in known) or "none yet"
        raise Refused(f"{name} has no version {number}", fix=f"status knows these: {listed}")
    notes = [f"nothing is trained until {how_to_unset(adapter.raw, 'spec.version', f'unpin {name}')}"]
    if entry is None:
        notes.append(f"version {number} is older than what status lists; the operator looks it up in the registry")
    elif entry.state != "Published":
        notes.append(f"version {number} is {entry.state}: {entry.message}")
    target = adapter.status.serving.target
    if entry is not None and target is not None and entry.base_digest != target.base_digest:
        notes.append("it belongs to another base, which is served again for it and takes pods of its own")
    return Change({"spec": {"version": number}}, f"{name} is pinned to version {number}", tuple(notes))


def unpin(adapter: Adapter, *, lenient: bool = False) -> Change:
    """Let the spec decide again which version is served; ``lenient``: also where it does already."""
    name = adapter.metadata.name
    if adapter.pinned is None and lenient:
        return Change({}, f"{name} is not pinned: nothing to do")
    if adapter.pinned is None:
        raise Refused(f"{name} is not pinned", fix=f"`kubectl graft status {name}` tells what is served")
    says = f"{name} is not pinned to version {adapter.pinned} any more"
    return Change({"spec": {"version": None}}, says, (_what_follows(adapter),))


def promote(adapter: Adapter, number: int | None) -> Change:
    """Let a version take over at once: the given one, or the canary."""
    readable(adapter)
    name, canary = adapter.metadata.name, canary_of(adapter.status)
    number = number if number is not None else (canary.target if canary else None)
    if number is None:
        fix = f"name a version that was rolled back: `kubectl graft promote {name} N`"
        raise Refused(f"no canary of {name} is under way", fix=fix)
    _refuse_vain_promotion(adapter, number)
    if adapter.rollout.get("promote") == number:
        raise Refused(f"spec.serving.rollout.promote of {name} names version {number} already")
    other = {"abort": None} if adapter.rollout.get("abort") == number else {}
    notes = _unless_pinned(adapter, number)
    says = f"version {number} of {name} takes over at once, whatever the limits say"
    return Change({"spec": {"serving": {"rollout": {"promote": number} | other}}}, says, notes)


def abort(adapter: Adapter, number: int | None) -> Change:
    """Roll a version back while the one before is still loaded: the given one, or the one that rolls out."""
    readable(adapter)
    name, serving = adapter.metadata.name, adapter.status.serving
    target, previous = serving.target, serving.previous
    if target is None or previous is None or (number is not None and number != target.number):
        what = f"version {number} of {name} does not" if number is not None else f"no version of {name} does"
        fix = f"`kubectl graft rollback {name}` pins an older version"
        raise Refused(f"{what} roll out now with the version before it still loaded", fix=fix)
    if adapter.rollout.get("abort") == target.number:
        raise Refused(f"spec.serving.rollout.abort of {name} names version {target.number} already")
    other = {"promote": None} if adapter.rollout.get("promote") == target.number else {}
    says = f"version {target.number} of {name} is rolled back; version {previous.number} answers again"
    note = "it is not rolled out again until the spec changes, or promote names it"
    notes = (note, *_unless_pinned(adapter, target.number))
    return Change({"spec": {"serving": {"rollout": {"abort": target.number} | other}}}, says, notes)


def suspend(adapter: Adapter) -> Change:
    """Start no new training; what is served stays served."""
    name = adapter.metadata.name
    if adapter.spec.get("suspend"):
        raise Refused(f"{name} is suspended already")
    notes = ("a training that runs already goes on",) if adapter.status.training else ()
    return Change({"spec": {"suspend": True}}, f"no new training of {name} starts; what is served stays served", notes)


def resume(adapter: Adapter) -> Change:
    """Let trainings start again."""
    name = adapter.metadata.name
    if not adapter.spec.get("suspend"):
        raise Refused(f"{name} is not suspended")
    return Change({"spec": {"suspend": False}}, f"trainings of {name} start again", ())


def retrain(adapter: Adapter, now: datetime) -> Change:
    """Try again what has failed for good."""
    readable(adapter)
    name, failed = adapter.metadata.name, adapter.status.failed_trainings
    if failed is None:
        stalled = find(adapter.status.conditions, "Stalled")
        fix = "the same inputs are the same version; change spec.training.seed, say, for another one"
        fix = stalled.message if stalled is not None and stalled.status == "True" else fix
        raise Refused(f"no training of {name} has failed for good", fix=fix)
    says = f"the training of {name} that has failed ({failed.reason}) is tried again"
    way = how_to_unset(adapter.raw, "spec.suspend", "resume")
    notes = [f"spec.suspend is true: nothing starts until {way}"] if adapter.spec.get("suspend") else []
    stamp = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Change({"metadata": {"annotations": {RETRY: stamp}}}, says, tuple(notes))


def _refuse_vain_promotion(adapter: Adapter, number: int) -> None:
    """Raise Refused for a version whose promotion would have no effect: the operator would not roll it out."""
    name, entry, status = adapter.metadata.name, told_version(adapter, number), adapter.status
    what = "promote is for canaries and versions that were rolled back"
    pin_it = f"`kubectl graft pin {name} {number}` serves it as it is"
    if entry is None:
        raise Refused(f"{name} has no version {number}", fix=f"see `kubectl graft history {name}`")
    if entry.state == "Rejected":
        message = f"version {number} of {name} was rejected by its gate, and {what}"
        if is_unservable(entry):
            raise Refused(message, fix=entry.message)
        limits = loosened(re.findall(r"evaluation\.m(?:in|ax)[A-Za-z]+", entry.message))
        raise Refused(message, fix=f"{limits}, which trains nothing again; or {pin_it}" if limits else pin_it)
    is_target = status.serving.target is not None and status.serving.target.number == number
    if not is_target and status.recipe is not None and entry.recipe != status.recipe:
        raise Refused(f"version {number} of {name} is not what its spec asks for, and {what}", fix=pin_it)


def _unless_pinned(adapter: Adapter, number: int) -> tuple[str, ...]:
    if adapter.pinned is None or adapter.pinned == number:
        return ()
    way = how_to_unset(adapter.raw, "spec.version", "unpin")
    return (f"spec.version pins version {adapter.pinned}: this has no effect until {way}",)


def _what_follows(adapter: Adapter) -> str:
    """Say which version the spec asks for once it is not pinned, and how good that is, as far as status tells."""
    status = adapter.status
    is_seen = status.recipe is not None and status.observed_generation == adapter.metadata.generation
    entry = next((item for item in status.versions if is_seen and item.recipe == status.recipe), None)
    if entry is None:
        return "the version of the current spec is served again, and trained if there is none"
    if entry.number == adapter.pinned:
        return f"the spec asks for version {entry.number}, too: it goes on serving"
    asked = f"the spec asks for version {entry.number}"
    if entry.state == "Rejected":
        return f"{asked}, which its gate has rejected ({entry.message}); it is not served unless it passes now"
    if entry.state != "Published":
        return f"{asked}, which is {entry.state} ({entry.message}) and is tried again"
    return f"{asked}, which is served next{_how_good(entry)}"


def _how_good(entry: Version) -> str:
    if (other := entry.compared_with) is None:
        return f"; its gate said: {entry.message}" if entry.message else ""
    word = "worse" if other.change > 0 else "better"
    return f"; it is {abs(other.change):.0%} {word} than version {other.number} on the same rows"


def _current(adapter: Adapter) -> int | None:
    """Return the number of the version that clients get now, or will get."""
    target = adapter.status.serving.target
    return adapter.status.served_version or (target.number if target else None)


def _version_before(adapter: Adapter) -> int:
    """Return the newest version before the current one that has passed its gate and was not given up."""
    name, current = adapter.metadata.name, _current(adapter) or 0
    older = [version for version in adapter.status.versions if version.number < current]
    good = [version.number for version in older if version.state == "Published"]
    if not good:
        fix = f"see `kubectl graft history {name}`, and name one: `kubectl graft rollback {name} --to N`"
        raise Refused(f"there is no good version of {name} before version {current}", fix=fix)
    return max(good)
