"""Whether an adapter is where it should be, as far as that can be told without the registry.

Of thousands of adapters nearly all are, at any moment, and all are looked at when the operator starts: none of them may
need to read its versions again for that. What was decided stands in the status; it holds for as long as what it was
decided from is the same.
"""

from __future__ import annotations

from typing import Final

from graft_operator.api.conditions import Condition, find, is_true
from graft_operator.plan.rollout.coverage import Coverage, coverage_in_mode
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.candidates import ways_to_fulfil
from graft_operator.plan.training.memory import with_chosen_method
from graft_operator.plan.training.versions import entry_of

DONE: Final = ("Accepted", "Trained", "Evaluated", "Published", "UpToDate", "Ready")


def is_settled(seen: AdapterSnapshot) -> bool:
    """Whether the status says that all is done, and neither the spec, the base, the rows nor the pods say otherwise."""
    adapter, status = seen.adapter, seen.adapter.status
    if adapter.metadata.is_deleting or seen.base is None or seen.unknown is not None:
        return False
    if status.observed_generation != adapter.metadata.generation or not says_done(status.conditions):
        return False
    if any(job.state != "Succeeded" or job.recipe != status.recipe for job in seen.jobs):
        return False
    if seen.kept_base is not None or keeps_an_old_base(seen) or status.training is not None:
        return False
    return nothing_moves(seen) and fulfils_the_spec(seen) and answers_everywhere(seen)


def says_done(conditions: tuple[Condition, ...]) -> bool:
    """Whether the conditions are those of an adapter that waits for nothing, and for nobody."""
    done = all(is_true(conditions, kind) for kind in DONE)
    rests = not any(is_true(conditions, kind) for kind in ("Reconciling", "Stalled"))
    return done and rests and find(conditions, "Stalled") is not None


def keeps_an_old_base(seen: AdapterSnapshot) -> bool:
    """Whether the adapter stays on a base of before, which only the registry can tell of."""
    if seen.base is None or seen.base.spec.readaptation.policy != "Never":
        return False
    target, resolved = seen.adapter.status.serving.target, seen.base.status.resolved
    return resolved is None or (target is not None and target.base_digest != resolved.digest)


def nothing_moves(seen: AdapterSnapshot) -> bool:
    """Whether no rollout, no hand-over from another mode, and no place that is given and taken is under way."""
    serving, spec = seen.adapter.status.serving, seen.adapter.spec.serving
    if (serving.previous, serving.rollout, serving.former) != (None, None, None):
        return False
    if seen.adapter.status.candidate_version is not None:
        return False
    if spec.mode == "None":
        return serving.target is None
    return serving.target is not None and serving.mode_in_force == spec.mode and spec.residency == "Always"


def fulfils_the_spec(seen: AdapterSnapshot) -> bool:
    """Whether the version of the status is what the spec, the base and the rows ask for today."""
    status, spec, base = seen.adapter.status, seen.adapter.spec, seen.training_base
    if base is None or status.recipe is None or seen.dataset_problem or spec.version is not None:
        return False
    if status.chosen_method != with_chosen_method(seen.adapter, base).status.chosen_method:
        return False
    if not any(status.recipe in way.recipes for way in ways_to_fulfil(seen)):
        return False
    current = next((item for item in status.versions if item.recipe == status.recipe), None)
    if current is None or current.state != "Published" or current.base_digest != base.digest:
        return False
    target = status.serving.target
    if spec.serving.mode == "None":
        return True
    is_current = target is not None and (target.number, target.digest) == (current.number, current.digest)
    return is_current and entry_of(status.versions, current.number) == current


def answers_everywhere(seen: AdapterSnapshot) -> bool:
    """Whether the pods say what the status says of them."""
    status, mode = seen.adapter.status, seen.adapter.spec.serving.mode
    if mode == "None":
        return True
    coverage = coverage_in_mode(seen, status.serving.target, mode)
    return coverage.complete and coverage.failed == 0 and told(seen) == shown(coverage)


def told(seen: AdapterSnapshot) -> tuple[int, int, int, str]:
    """Return what the status says of the pods."""
    serving = seen.adapter.status.serving
    return serving.desired, serving.loaded, serving.failed, serving.message


def shown(coverage: Coverage) -> tuple[int, int, int, str]:
    """Return the same of what the pods say themselves."""
    return coverage.desired, coverage.loaded, coverage.failed, coverage.message
