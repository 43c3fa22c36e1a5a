"""Whether an adapter is settled: by its own status, its base, its data and the pods, without asking the registry.

The status of a settled adapter stays as it is. So an operator that starts with ten thousand served adapters reads none
of their versions.
"""

from __future__ import annotations

from graft_operator.api.adapter_status import Version
from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.conditions import PINNED, find, is_true
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.adapter.pins import KEPT_ON_BASE, is_observed, is_unclear
from graft_operator.plan.imports.origin import content_to_import, is_bound, is_imported_on, is_unresolved
from graft_operator.plan.imports.recipe import import_recipes
from graft_operator.plan.placement.demand import is_absent
from graft_operator.plan.rollout.coverage import coverage_in_mode
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.memory import with_chosen_method
from graft_operator.plan.training.rank import with_effective_rank
from graft_operator.plan.training.recipe import fulfilling_recipes
from graft_operator.plan.training.servability import is_servable
from graft_operator.plan.training.versions import entry_of, newest_published


def is_settled(seen: AdapterSnapshot) -> bool:
    """Whether nothing is left to do for the adapter. ``seen`` need not hold anything that comes from the registry.

    An adapter whose version is known to have vanished from the registry is never settled, whatever its status says.
    """
    if seen.is_lost:
        return False
    finished = all(job.state == "Succeeded" and job.recipe == seen.adapter.status.recipe for job in seen.jobs)
    return finished and status_says_so(seen) and pods_say_so(seen)


def pods_say_so(seen: AdapterSnapshot) -> bool:
    """Whether the pods say what the status says of them, and no place is about to be given or taken."""
    serving, mode = seen.adapter.status.serving, seen.adapter.spec.serving.mode
    if mode == "None" or serving.target is None:
        return serving.target is None
    coverage = coverage_in_mode(seen, serving.target, mode)
    told = (serving.desired, serving.loaded, serving.failed, serving.message)
    if told != (coverage.desired, coverage.loaded, coverage.failed, coverage.message) or coverage.failed:
        return False
    is_here, ready = not is_absent(seen, serving.target), find(seen.adapter.status.conditions, "Ready")
    if ready is not None and ready.reason == "NotResident":
        return not is_here and coverage.loaded == 0
    return is_here and coverage.complete


def status_says_so(seen: AdapterSnapshot) -> bool:
    """Whether the status tells of a version that the spec, the base and the data ask for today."""
    adapter = seen.adapter
    if not is_observed(seen) or not is_at_rest(adapter):
        return False
    if adapter.spec.version is not None:
        return pin_is_carried_out(adapter) and pin_is_told(seen)
    if seen.base is None or seen.base.status.resolved is None or seen.dataset_problem or seen.unknown is not None:
        return False
    if not is_servable(seen):
        return False  # the base has changed; a pinned version is served all the same
    if is_suspended_untrained(adapter):
        recipe = adapter.status.recipe
        return recipe is not None and recipe in recipes_on(seen, seen.base.status.resolved, None)
    entry = fulfilling_entry(adapter)
    if entry is None or entry.state != "Published":
        return False
    if entry.imported is not None and is_too_high(seen, entry):
        return False
    base = trained_on(seen, seen.base.status.resolved, entry)
    if is_kept(adapter) != (entry.base_digest != seen.base.status.resolved.digest):
        return False  # its base has just changed, or changed back
    return base is not None and entry.recipe in recipes_on(seen, base, entry)


def is_at_rest(adapter: LoraAdapter) -> bool:
    """Whether the status tells of nothing that goes on, is awaited, or went wrong."""
    status = adapter.status
    serving, conditions = status.serving, status.conditions
    moves = (serving.rollout, serving.previous, serving.former, status.candidate_version)
    if any(part is not None for part in moves) or status.training is not None:
        return False
    told = [find(conditions, kind) for kind in ("Reconciling", "Stalled")]
    return all(condition is not None and condition.status == "False" for condition in told)


def pin_is_carried_out(adapter: LoraAdapter) -> bool:
    """Whether the version that ``spec.version`` names is served, or is published where nothing is served."""
    status, number = adapter.status, adapter.spec.version
    trained, entry = find(status.conditions, "Trained"), entry_of(status.versions, number or 0)
    if entry is None or trained is None or trained.reason != PINNED or not answers(adapter):
        return False
    return entry.state == "Published" and is_target(adapter, entry)


def pin_is_told(seen: AdapterSnapshot) -> bool:
    """Whether the status is right on whether the spec asks for the pinned version; so where that can't be told now.

    A base or rows that change under a pin change nothing but that.
    """
    status, resolved = seen.adapter.status, seen.base.status.resolved if seen.base is not None else None
    entry, told = entry_of(status.versions, seen.adapter.spec.version or 0), find(status.conditions, "UpToDate")
    if entry is None or resolved is None or is_unclear(seen):
        return True
    base = trained_on(seen, resolved, entry)
    is_asked_for = base is not None and is_asked_for_on(seen, base, entry)
    return told is not None and told.status != "Unknown" and is_asked_for == (told.reason != PINNED)


def is_asked_for_on(seen: AdapterSnapshot, base: ResolvedBase, entry: Version) -> bool:
    """Whether a version of that base is what the spec asks for.

    There may be another way to fulfil the same spec, such as a cold start beside a warm one. Which of them is chosen
    depends on what the registry says of their versions, so the choice that the status tells of stands.
    """
    status, own = seen.adapter.status, recipes_on(seen, base, entry)
    if entry.recipe not in own or status.recipe is None or status.recipe in own:
        return entry.recipe in own
    chosen = next((version for version in status.versions if version.recipe == status.recipe), None)
    return status.recipe not in recipes_on(seen, base, chosen)


def fulfilling_entry(adapter: LoraAdapter) -> Version | None:
    """Return the version that fulfils the spec according to the status; None where that says of none that it does."""
    status, mode = adapter.status, adapter.spec.serving.mode
    if not is_true(status.conditions, "Trained") or not is_up_to_date(adapter) or not answers(adapter):
        return None
    if mode == "None":
        entry = newest_published(version for version in status.versions if version.recipe == status.recipe)
    else:
        entry = entry_of(status.versions, status.serving.target.number) if status.serving.target else None
    return entry if entry is not None and is_target(adapter, entry) else None


def is_target(adapter: LoraAdapter, entry: Version) -> bool:
    """Whether the alias points to the version, in the mode that the spec asks for; with mode None there is no alias."""
    serving, mode = adapter.status.serving, adapter.spec.serving.mode
    if mode == "None":
        return serving.target is None
    return serving.target is not None and serving.mode_in_force == mode and serving.target.digest == entry.digest


def is_up_to_date(adapter: LoraAdapter) -> bool:
    """Whether the status says that what answers is what is asked for; policy Never asks for nothing newer."""
    return is_true(adapter.status.conditions, "UpToDate") or is_kept(adapter)


def is_kept(adapter: LoraAdapter) -> bool:
    """Whether the status says that the adapter is kept on a former base, by policy Never or as an import."""
    told = find(adapter.status.conditions, "UpToDate")
    return told is not None and told.reason in KEPT_ON_BASE


def is_too_high(seen: AdapterSnapshot, entry: Version) -> bool:
    """Whether the rank of an imported version is above what its base's engines take by now."""
    is_beside_others = seen.adapter.spec.serving.mode == "MultiAdapter"
    limit = seen.base.spec.serving.max_rank if seen.base is not None else None
    return is_beside_others and limit is not None and (entry.rank or 0) > limit


def answers(adapter: LoraAdapter) -> bool:
    """Whether the status says that the adapter answers, or that it will when it is asked (residency OnDemand)."""
    ready = find(adapter.status.conditions, "Ready")
    return ready is not None and (ready.status == "True" or ready.reason == "NotResident")


def is_suspended_untrained(adapter: LoraAdapter) -> bool:
    """Whether nothing is trained because the spec says so; what is served, if anything, goes on."""
    trained = find(adapter.status.conditions, "Trained")
    return adapter.spec.suspend and trained is not None and trained.reason == "Suspended"


def trained_on(seen: AdapterSnapshot, resolved: ResolvedBase, entry: Version) -> ResolvedBase | None:
    """Return the base that a version of the present spec has to be of: the present one, or that on which it is kept.

    The registry alone knows the shape of the latter, by which method Auto chooses for a training.
    """
    if entry.base_digest == resolved.digest:
        return resolved
    if is_bound(seen.adapter, resolved.digest):
        return resolved.model_copy(update={"digest": entry.base_digest})
    if seen.base is None or seen.base.spec.readaptation.policy != "Never":
        return None
    if seen.adapter.spec.method == "Auto" and entry.imported is None:
        return None
    return resolved.model_copy(update={"digest": entry.base_digest})


def recipes_on(seen: AdapterSnapshot, base: ResolvedBase, entry: Version | None) -> tuple[str, ...]:
    """Return the recipes of the present spec and data on a base, begun with what the version was begun with."""
    if is_imported_on(seen.adapter, base.digest):
        return recipes_to_import(seen, base)
    return fulfilling_recipes(
        with_effective_rank(with_chosen_method(seen.adapter, base)).spec,
        base_digest=base.digest,
        dataset_digest=seen.dataset_digest,
        evaluation_digest=seen.evaluation_digest,
        warm_start=entry.warm_start if entry is not None else None,
    )


def recipes_to_import(seen: AdapterSnapshot, base: ResolvedBase) -> tuple[str, ...]:
    """Return the recipes of the import that the present spec asks for; none while its source was not looked at."""
    if is_unresolved(seen.adapter):
        return ()
    return import_recipes(
        seen.adapter.spec,
        base_digest=base.digest,
        content=content_to_import(seen.adapter),
        dataset_digest=seen.dataset_digest,
        evaluation_digest=seen.evaluation_digest,
    )
