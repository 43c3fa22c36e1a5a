"""How an adapter gets onto a changed base: the cheapest candidate first, and the next one where its gate fails.

| drift of the base | candidates, in this order |
|---|---|
| Equal | none is needed: the base digest is the same, so the recipe is |
| TokenizerOnly, Near | warm start, cold |
| Different, not measured, or readaptation.strategy Cold | cold |

An adapter that was trained elsewhere is imported, as long as it is (see ``imports.origin``): then that is the only way.

A warm start begins with the weights of the version that is served and trains for a third of the time (see
``manifests.jobs.warm_start``). Using the old version as it is has no place here: see docs/adr/0007.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, get_args

from graft_operator.api.adapter_status import Version, VersionState, WarmStart
from graft_operator.api.base_model import BaseModel, ResolvedBase
from graft_operator.api.evaluation import Evaluation
from graft_operator.api.training import NO_BEGINNING
from graft_operator.plan.imports.origin import content_to_import, is_bound, is_import, is_unresolved
from graft_operator.plan.imports.recipe import import_recipes
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.gate import GateDecision, judge
from graft_operator.plan.training.memory import with_chosen_method
from graft_operator.plan.training.rank import with_effective_rank
from graft_operator.plan.training.recipe import fulfilling_recipes
from graft_operator.plan.training.versions import comparison_baseline, entry_of, judged, known_versions, record
from graft_registry.documents import StoredVersion

WARM_VERDICTS: Final = frozenset({"TokenizerOnly", "Near"})
"""What may have become of a base for its adapters to be worth starting from."""


class RecipesOf(Protocol):
    """Computes the recipes of the adapter's present spec and rows on some base, cold or from some version."""

    def __call__(self, *, base_digest: str, warm_start: WarmStart | None = None) -> tuple[str, ...]:
        """Return the recipe digests, the one to train first (``recipe.fulfilling_recipes``)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to fulfil the spec: a version of any of these recipes, and a training of the first where there is none.

    ``warm_start`` is the version to begin with, None to begin with nothing.
    """

    recipes: tuple[str, ...]
    warm_start: WarmStart | None = None


@dataclass(frozen=True, slots=True)
class CandidateDecision:
    """The first candidate that has not failed, its version if there is one, and the versions of those before it."""

    candidate: Candidate | None = None
    published: StoredVersion | None = None
    rejected: tuple[StoredVersion, ...] = ()
    unknown: Unknown | None = None
    """Why it can't be told whether there is a version; None where that is known."""

    @property
    def recipe(self) -> str | None:
        """The recipe of the version, or the one to train; None where there is no candidate."""
        if self.published is not None:
            return self.published.manifest.recipe
        return self.candidate.recipes[0] if self.candidate else None


def choose(
    ways: Sequence[Candidate],
    published: Mapping[str, Known[StoredVersion] | Unknown],
    live: StoredVersion | None,
    limits: Evaluation,
    at_hand: Iterable[StoredVersion | None] = (),
) -> CandidateDecision:
    """Choose the first way that has not failed its gate, or else the last one.

    Args:
        ways: the ways to fulfil the spec, the cheapest first.
        published: what the registry is known to hold, by recipe; without a recipe that nobody has asked for.
        live: the version that users have, which others are compared with.
        limits: those of the gate.
        at_hand: further versions that are read already, such as the one that the alias points to.
    """
    rejected: tuple[StoredVersion, ...] = ()
    for way in ways:
        found = version_of(way, published, (live, *at_hand))
        if isinstance(found, Unknown):
            return CandidateDecision(way, None, rejected, found)
        if found is None or way == ways[-1] or not has_failed(found, live, limits):
            return CandidateDecision(way, found, rejected)
        rejected = (*rejected, found)
    return CandidateDecision()


def version_of(
    way: Candidate,
    published: Mapping[str, Known[StoredVersion] | Unknown],
    at_hand: Iterable[StoredVersion | None],
) -> StoredVersion | Unknown | None:
    """Return the version of a way's recipes: one that is served, or else the first that the registry holds."""
    for stored in at_hand:
        if stored is not None and stored.manifest.recipe in way.recipes:
            return stored
    for recipe in way.recipes:
        answer = published.get(recipe)
        if isinstance(answer, Unknown):
            return answer
        if answer is not None and answer.value is not None:
            return answer.value
    return None


def recipes_to_look_up(seen: AdapterSnapshot) -> tuple[str, ...]:
    """Return the recipes whose versions the next step depends on; none where what is served fulfils the spec.

    Of each way that is the one to train by, and those that the status knows versions of.
    """
    if seen.adapter.spec.version is not None:
        return ()
    at_hand = {stored.manifest.recipe for stored in (seen.live, seen.stable) if stored is not None}
    known = {version.recipe for version in known_versions(seen.adapter.status.versions, seen.history)}
    wanted: list[str] = []
    for way in ways_to_fulfil(seen):
        if at_hand.isdisjoint(way.recipes):
            first, *others = way.recipes
            wanted += [first, *(recipe for recipe in others if recipe in known)]
    return tuple(dict.fromkeys(wanted))


def with_candidate(seen: AdapterSnapshot) -> AdapterSnapshot:
    """Return the snapshot with the choice made: the recipe of the spec, and its version where there is one.

    ``seen`` holds what was found of :func:`recipes_to_look_up`.
    """
    base = seen.training_base
    is_trained = base is not None and not is_import(seen)
    adapter = with_chosen_method(seen.adapter, base) if base is not None and is_trained else seen.adapter
    limits = adapter.spec.evaluation
    at_hand = (seen.live, seen.stable, seen.pinned)
    choice = choose(ways_to_fulfil(seen), seen.found, comparison_baseline(seen), limits, at_hand)
    return replace(
        seen,
        adapter=adapter,
        recipe=choice.recipe,
        warm_start=choice.candidate.warm_start if choice.candidate else None,
        published=choice.published,
        rejected=choice.rejected,
        unknown=choice.unknown or seen.unknown,
    )


def version_asked_for(seen: AdapterSnapshot) -> int | None:
    """Return the version that the spec asks for but for its pin, as far as the status knows of one."""
    known = known_versions(seen.adapter.status.versions, seen.history)
    fit = (version.number for way in ways_to_fulfil(seen) for version in known if version.recipe in way.recipes)
    return next(fit, None)


def ways_to_fulfil(seen: AdapterSnapshot) -> tuple[Candidate, ...]:
    """Return the ways to fulfil the spec; none while the base or the rows are not known."""
    base, trained_on = seen.base, seen.training_base
    if base is None or trained_on is None or seen.dataset_problem:
        return ()
    if is_import(seen):
        return ways_to_import(seen, trained_on)
    recipes_of = partial(
        fulfilling_recipes,
        with_effective_rank(with_chosen_method(seen.adapter, trained_on)).spec,
        dataset_digest=seen.dataset_digest,
        evaluation_digest=seen.evaluation_digest,
    )
    if seen.adapter.spec.training.objective != "SFT":
        return ways_to_prefer(seen, recipes_of, trained_on)
    known = known_versions(seen.adapter.status.versions, seen.history)
    return candidates(recipes_of, base, trained_on, comparison_baseline(seen), known)


def ways_to_import(seen: AdapterSnapshot, target: ResolvedBase) -> tuple[Candidate, ...]:
    """Return the one way to import: none while the source was never looked at, or on a base that is not its own."""
    adapter, history = seen.adapter, seen.history
    if is_unresolved(adapter, history) or is_bound(adapter, target.digest, history, seen.verdicts):
        return ()
    recipes = import_recipes(
        adapter.spec,
        base_digest=target.digest,
        content=content_to_import(adapter, history),
        dataset_digest=seen.dataset_digest,
        evaluation_digest=seen.evaluation_digest,
    )
    return (Candidate(recipes),)


def ways_to_prefer(seen: AdapterSnapshot, recipes_of: RecipesOf, target: ResolvedBase) -> tuple[Candidate, ...]:
    """Return the one way to learn preferences: near the base, or from the version that the spec names as reference.

    What is served is no beginning here: near itself a version would be held to what it has learned on another base.
    None while the reference is not known, or is one of another base.
    """
    if seen.adapter.spec.training.reference_version is None:
        return (Candidate(recipes_of(base_digest=target.digest)),)
    reference = seen.reference
    if reference is None or reference.manifest.base.digest != target.digest:
        return ()
    start = WarmStart(number=reference.manifest.number, digest=reference.digest)
    return (Candidate(recipes_of(base_digest=target.digest, warm_start=start), start),)


def candidates(
    recipes_of: RecipesOf,
    base: BaseModel,
    target: ResolvedBase,
    live: StoredVersion | None,
    known: Sequence[Version],
) -> tuple[Candidate, ...]:
    """Return the ways to fulfil the spec on ``target``, the cheapest first; the last one always begins with nothing.

    Args:
        recipes_of: computes recipes of the present spec.
        base: the BaseModel, whose spec says what is allowed.
        target: the base to train on.
        live: the version that the alias was last told to point to.
        known: the versions that the adapter's status remembers.
    """
    cold = Candidate(recipes_of(base_digest=target.digest))
    published = {version.recipe for version in known} | ({live.manifest.recipe} if live else set())
    if not published.isdisjoint(cold.recipes):
        # A warm start was tried before it, if ever, and its gate would be a lower one beside this version.
        return (cold,)
    warm = remembered_start(recipes_of, target, known) or fresh_start(recipes_of, base, target, live)
    return (cold,) if warm is None else (warm, cold)


def remembered_start(recipes_of: RecipesOf, target: ResolvedBase, known: Sequence[Version]) -> Candidate | None:
    """Return the warm start that a version of the present spec on this base was trained with, if there is one.

    So it stays the answer to the spec once it is served, and after spec or base have gone elsewhere and come back.
    """
    for version in known:
        start = version.warm_start
        if start is None or version.base_digest != target.digest:
            continue
        if version.recipe in (recipes := recipes_of(base_digest=target.digest, warm_start=start)):
            return Candidate(recipes, start)
    return None


def fresh_start(
    recipes_of: RecipesOf, base: BaseModel, target: ResolvedBase, live: StoredVersion | None
) -> Candidate | None:
    """Return a warm start from the version that is served, where that is worth a try."""
    drift = target.drift
    if live is None or drift is None or base.spec.readaptation.strategy == "Cold":
        return None
    if drift.previous != live.manifest.base.digest or drift.verdict not in WARM_VERDICTS:
        return None
    if live.manifest.method in NO_BEGINNING or not fulfils(recipes_of, live):
        return None
    start = WarmStart(number=live.manifest.number, digest=live.digest)
    return Candidate(recipes_of(base_digest=target.digest, warm_start=start), start)


def fulfils(recipes_of: RecipesOf, live: StoredVersion) -> bool:
    """Whether only the base has changed since a version was trained: not its shape, nor its method, nor its rows."""
    manifest = live.manifest
    known = manifest.warm_start
    start = WarmStart(number=known.number, digest=known.manifest_digest) if known else None
    return manifest.recipe in recipes_of(base_digest=manifest.base.digest, warm_start=start)


def has_failed(stored: StoredVersion, live: StoredVersion | None, limits: Evaluation) -> bool:
    """Whether the gate says no to what a candidate has come to, so that the next one is due."""
    return not _verdict(stored, live, limits).passed


def with_rejected(
    versions: tuple[Version, ...],
    rejected: Iterable[StoredVersion],
    live: StoredVersion | None,
    limits: Evaluation,
) -> tuple[Version, ...]:
    """Return the list with the candidates that have failed put in: people ask what became of them, and why."""
    for stored in rejected:
        known = entry_of(versions, stored.manifest.number)
        foreign = known if known is not None and known.state not in get_args(VersionState) else None
        versions = record(versions, judged(stored, _verdict(stored, live, limits), foreign))
    return versions


def _verdict(stored: StoredVersion, live: StoredVersion | None, limits: Evaluation) -> GateDecision:
    return judge(stored.manifest, live.manifest if live else None, limits)
