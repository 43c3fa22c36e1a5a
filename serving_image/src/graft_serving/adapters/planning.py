"""What to do next, given what is wanted and what is there. Pure: no I/O, no clock, no randomness.

Two decisions: where each alias points (`plan_routes`), and the next step of each version (`plan_steps`). A version is
*needed* while the wanted set lists it or an alias still points at it, so an alias never loses its target before it has
the next one.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from graft_serving.adapters.eviction import CachedFolder, evictions
from graft_serving.versions import Route, VersionKey, VersionState
from graft_serving.wanted.documents import WantedAdapter, WantedSet

ATTEMPTS_BEFORE_SIBLINGS_GO_AHEAD = 3
"""After so many failed attempts an adapter no longer keeps the pod unready, if another adapter is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionObserved:
    """One version as it stands when the plan is made."""

    state: VersionState
    busy: bool = False
    """A task is working on it."""
    loaded: bool = False
    """The engine lists its name with the root that it must have."""
    inflight: int = 0
    retry_due: bool = True
    attempts: int = 0
    restarted_since_refusal: bool = False
    """An engine refused it, and that engine has been restarted since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that a plan depends on."""

    wanted: WantedSet
    versions: Mapping[VersionKey, VersionObserved]
    routes: Mapping[str, Route]
    """Where the aliases point so far."""
    engine_ready: bool
    engine_names: Mapping[str, str]
    """Name → path of all adapters that the engine lists."""
    folders: Collection[CachedFolder]
    """The versions on the disk."""
    cache_bytes: int
    """Bytes that they may take together; those that are needed may take more."""
    sweeping: bool = False
    has_base: bool = True
    """Whether the bare base is served beside the versions."""


@dataclass(frozen=True, slots=True)
class BringUp:
    """Fetch, check, load and prove the version; each part only as far as it isn't done."""

    key: VersionKey


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop bringing the version up: nobody needs it any more."""

    key: VersionKey


@dataclass(frozen=True, slots=True)
class Drain:
    """Give the version no more requests."""

    key: VersionKey


@dataclass(frozen=True, slots=True)
class Retire:
    """Unload the version, then forget it; its files stay until their room is needed."""

    key: VersionKey


@dataclass(frozen=True, slots=True)
class Sweep:
    """Unload names that belong to no known version: left by an earlier life of the agent."""

    engine_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evict:
    """Delete folders of versions that nobody needs and the engine doesn't know."""

    folders: tuple[str, ...]


Step = BringUp | Cancel | Drain | Retire | Sweep | Evict


@dataclass(frozen=True, slots=True)
class Plan:
    """The aliases' routes from now on, and the steps to take; steps of different versions are independent."""

    routes: Mapping[str, Route]
    steps: tuple[Step, ...]


def plan(seen: Observed) -> Plan:
    """Decide the routes, and the next step of every version that needs one."""
    routes = plan_routes(seen)
    return Plan(routes, plan_steps(seen, routes))


def plan_routes(seen: Observed) -> dict[str, Route]:
    """Point each alias at its wanted route once all of it is proven here; until then at its former route.

    Without a former route (the pod is new) whatever is proven of the wanted one answers.
    """

    def state_of(key: VersionKey) -> VersionState | None:
        found = seen.versions.get(key)
        return found.state if found else None

    routes: dict[str, Route] = {}
    for adapter in seen.wanted.adapters:
        desired = adapter.desired_route
        former = seen.routes.get(adapter.name, ())
        if not desired:
            continue
        if all(state_of(share.version) is VersionState.PROVEN for share in desired):
            routes[adapter.name] = desired
        elif former and all(state_of(share.version) is not VersionState.REFUSED for share in former):
            routes[adapter.name] = former
        elif proven := tuple(share for share in desired if state_of(share.version) is VersionState.PROVEN):
            routes[adapter.name] = proven
    return routes


def plan_steps(seen: Observed, routes: Mapping[str, Route]) -> tuple[Step, ...]:
    """The next step of each version, in a stable order, and at last those that clear leftovers away."""
    needed = {key for adapter in seen.wanted.adapters for key in adapter.version_keys}
    needed |= {share.version for route in routes.values() for share in route}
    steps: list[Step] = []
    for key in sorted(needed | seen.versions.keys(), key=_name_and_number):
        version = seen.versions.get(key, VersionObserved(state=VersionState.PENDING))
        step = (
            _step_of_needed(key, version, engine_ready=seen.engine_ready)
            if key in needed
            else _step_of_unneeded(key, version, engine_ready=seen.engine_ready)
        )
        if step is not None:
            steps.append(step)
    return (*steps, *_clear_away(seen, needed | seen.versions.keys()))


def _name_and_number(key: VersionKey) -> tuple[str, int, str]:
    return key.adapter, key.number, key.manifest_digest


def _step_of_needed(key: VersionKey, version: VersionObserved, *, engine_ready: bool) -> Step | None:
    if version.busy:
        return None
    match version.state:
        case VersionState.REFUSED:
            return BringUp(key) if version.restarted_since_refusal and engine_ready else None
        case VersionState.PROVEN:
            lost = engine_ready and not version.loaded
            return BringUp(key) if lost else None
        case VersionState.FAILING:
            return BringUp(key) if version.retry_due else None
        case _:
            return BringUp(key)


def _step_of_unneeded(key: VersionKey, version: VersionObserved, *, engine_ready: bool) -> Step | None:
    if version.state is not VersionState.DRAINING:
        return Cancel(key) if version.busy else Drain(key)
    # An engine that doesn't answer can't confirm that it has forgotten the files.
    may_go = engine_ready and version.retry_due and not version.inflight
    return Retire(key) if may_go and not version.busy else None


def _clear_away(seen: Observed, known: Collection[VersionKey]) -> Iterator[Step]:
    # Only an engine that answers can say which folders it may still read.
    if not seen.engine_ready:
        return
    stray_names = sorted(seen.engine_names.keys() - {key.engine_name for key in known})
    if stray_names and not seen.sweeping:
        yield Sweep(tuple(stray_names))
    kept = {key.directory_name for key in known} | {path.rpartition("/")[2] for path in seen.engine_names.values()}
    if evicted := evictions(seen.folders, kept, seen.cache_bytes):
        yield Evict(evicted)


def first_pass_is_complete(seen: Observed, routes: Mapping[str, Route]) -> bool:
    """Whether every alias is answered, or can't be answered here for a reason that waiting won't cure.

    A pod that has one version of a canary only would give the other one's sessions the wrong one, so it waits for both.
    An adapter that failed again and again counts as settled once anything is served: it must not keep its siblings
    from their users. While nothing at all is served, the registry may be away and the pod waits. So does one that has
    no base to serve, as long as it answers with no version.
    """
    adapters = [adapter for adapter in seen.wanted.adapters if adapter.desired_route]
    answered = {adapter.name for adapter in adapters if _is_answered(seen, routes.get(adapter.name, ()))}
    if not (answered or seen.has_base):
        return False
    return all(
        (adapter.name in answered and not _is_part_of(routes[adapter.name], adapter.desired_route))
        or _is_refused(seen, adapter)
        or (answered and _keeps_failing(seen, adapter))
        for adapter in adapters
    )


def _is_part_of(route: Route, desired: Route) -> bool:
    """Whether versions are missing from a route that has no others."""
    return {share.version for share in route} < {share.version for share in desired}


def _is_answered(seen: Observed, route: Route) -> bool:
    targets = [seen.versions.get(share.version) for share in route]
    return bool(targets) and all(
        seen.engine_ready and target is not None and target.state is VersionState.PROVEN and target.loaded
        for target in targets
    )


def _is_refused(seen: Observed, adapter: WantedAdapter) -> bool:
    targets = (seen.versions.get(share.version) for share in adapter.desired_route)
    return any(target is not None and target.state is VersionState.REFUSED for target in targets)


def _keeps_failing(seen: Observed, adapter: WantedAdapter) -> bool:
    targets = (seen.versions.get(share.version) for share in adapter.desired_route)
    return any(target is not None and target.attempts >= ATTEMPTS_BEFORE_SIBLINGS_GO_AHEAD for target in targets)
