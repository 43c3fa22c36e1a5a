"""What is said of an adapter whose ``spec.version`` names a version: whether its spec asks for that one anyway.

While that can't be told, what was told before stays: a pin changes nothing of it, and rows that are just being read
say nothing against it.
"""

from __future__ import annotations

from typing import Final

from graft_operator.api.conditions import PINNED, Fact, find, no, unknown
from graft_operator.plan.imports.origin import is_import, is_unresolved
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.recipe_choice import version_asked_for

KEPT_ON_BASE: Final = frozenset({"KeptOnOldBase", "BoundToBase"})
"""Reasons of UpToDate for an adapter that stays on a former base, by policy Never or as an import."""


def pinned_fact(seen: AdapterSnapshot) -> Fact | None:
    """Say that a person holds another version than the spec asks for; None where nobody does."""
    pinned = seen.adapter.spec.version
    if pinned is None:
        return None
    if is_unclear(seen):
        cannot_tell = unknown(PINNED, f"version {pinned} is pinned; what the spec asks for can't be told now")
        return told_before(seen) or cannot_tell
    if seen.published is not None and seen.published.manifest.number == pinned:
        return None
    if seen.recipe is None:
        return no(PINNED, f"version {pinned} is pinned; what the spec asks for can't be made now")
    number = version_asked_for(seen)
    which = "" if number is None else f" (version {number})"
    return no(PINNED, f"version {pinned} is pinned; the spec asks for another one{which}")


def is_unclear(seen: AdapterSnapshot) -> bool:
    """Whether what the spec asks for can't be told now: it depends on the base, the rows and the registry."""
    if seen.unknown is not None or seen.dataset_problem or seen.training_base is None:
        return True
    return is_import(seen) and is_unresolved(seen.adapter, seen.history)


def told_before(seen: AdapterSnapshot) -> Fact | None:
    """Return what the status says of the present pin and spec; None where it says nothing of them yet."""
    told = find(seen.adapter.status.conditions, "UpToDate")
    if told is None or not is_observed(seen):
        return None
    says_so = told.status == "True" or told.reason == PINNED or told.reason in KEPT_ON_BASE
    return Fact(told.status, told.reason, told.message) if says_so else None


def recipe_to_tell(seen: AdapterSnapshot) -> str | None:
    """Return the recipe of the spec for the status: under a pin the one before, while it can't be computed."""
    if seen.adapter.spec.version is None or not is_unclear(seen):
        return seen.recipe
    return seen.adapter.status.recipe if is_observed(seen) else None


def is_observed(seen: AdapterSnapshot) -> bool:
    """Whether the status is about the present spec."""
    return seen.adapter.status.observed_generation == seen.adapter.metadata.generation
