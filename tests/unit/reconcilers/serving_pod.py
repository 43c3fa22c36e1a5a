"""A serving pod: the real agent's decisions, on an engine that loads a version in a few ticks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tests.agent_documents import state_of

from graft_operator.agents.state import AgentState
from graft_registry.digests import sha256_digest
from graft_serving.adapters import planning
from graft_serving.proxy.routing import Alias, Decision, RoutingTable, resolve
from graft_serving.status.pod import peers_of
from graft_serving.versions import Route, VersionKey, VersionState
from graft_serving.wanted.documents import WantedSet, parse_wanted_set

TICKS_TO_START = 2
TICKS_TO_LOAD = 2
REQUESTS_PER_TICK = 100
"""Of each adapter on each pod."""
PROBES = 20


@dataclass(slots=True)
class ServingPod:
    """One pod of one revision."""

    name: str
    base_digest: str
    refuses: set[tuple[str, int]]
    """(adapter, number) of what its engine does not take; shared by all pods."""
    fails: set[tuple[str, int]]
    """(adapter, number) of what answers every request with an error; shared by all pods."""
    answers_wrongly: set[tuple[str, int]] = field(default_factory=set)
    """(adapter, number) of what answers no probe right; shared by all pods."""
    slowness: int = 0
    """Ticks that a load takes longer here than on the fastest pod."""
    age: int = 0
    wanted: WantedSet | None = None
    wanted_digest: str | None = None
    routes: dict[str, Route] = field(default_factory=dict)
    states: dict[VersionKey, VersionState] = field(default_factory=dict)
    loading: dict[VersionKey, int] = field(default_factory=dict)
    measured: dict[VersionKey, tuple[int, int]] = field(default_factory=dict)
    """Requests and errors since the route of the version's alias last changed."""
    asked: dict[str, datetime] = field(default_factory=dict)
    """When adapters were last asked here, by name; what a test says."""
    ready: bool = False
    _table: RoutingTable | None = None
    """What requests are routed by; made once for each tick, before which nothing of it changes."""

    @property
    def engine_is_ready(self) -> bool:
        return self.age >= TICKS_TO_START

    def tick(self, wanted: str | None) -> None:
        """Take over the wanted set, if there is one, and go one step."""
        self.age += 1
        self._table = None
        if wanted is not None and sha256_digest(wanted.encode()) != self.wanted_digest:
            parsed = parse_wanted_set(wanted.encode())
            assert parsed.base.digest == self.base_digest, "a pod was told the wanted set of another base"
            self.wanted, self.wanted_digest = parsed.part_of(self.name), sha256_digest(wanted.encode())
        if self.wanted is None:
            return
        seen = self._seen(self.wanted)
        plan = planning.plan(seen)
        for name, route in plan.routes.items():
            if route != self.routes.get(name):
                self.measured |= {share.version: (0, 0) for share in route}
        self.routes = dict(plan.routes)
        for step in plan.steps:
            self._take(step)
        self._answer_requests()
        self.ready = self.ready or (
            self.engine_is_ready and planning.first_pass_is_complete(self._seen(self.wanted), self.routes)
        )

    def resolve(self, model: str, *, forwarded: bool, from_peer: bool = False) -> Decision:
        """Decide who answers a request, as the real router does."""
        if self._table is None:
            self._table = self._routing_table()
        return resolve(self._table, model, session=None, draw=0.0, forwarded=forwarded, from_peer=from_peer)

    def _routing_table(self) -> RoutingTable:
        if (wanted := self.wanted) is None:
            return RoutingTable(base_name="tiny", base_live=self.engine_is_ready)
        aliases = {
            item.name: Alias(
                live=self._live(item.name),
                forward_to=item.forward_to,
                peers=peers_of(wanted.peers_with(item, besides=self.name)),
                on_demand=item.on_demand,
                is_wanted=bool(item.versions),
            )
            for item in wanted.adapters
        }
        return RoutingTable(
            base_name=wanted.base.name,
            base_live=self.engine_is_ready,
            base_forward_to=wanted.base.forward_to,
            aliases=aliases,
        )

    def state(self) -> AgentState:
        """Return what the pod says of itself (docs/contracts.md §7)."""
        told = {item.name: item.decision for item in self.wanted.adapters} if self.wanted else {}
        adapters = [
            {
                "name": name,
                "active": [{"number": share.version.number, "weight": share.weight} for share in self._live(name)],
                "versions": [
                    {
                        "number": key.number,
                        "manifestDigest": key.manifest_digest,
                        "state": str(state),
                        "measured": self._measured(key),
                        "probes": self._probes(key),
                    }
                    for key, state in self.states.items()
                    if key.adapter == name
                ],
                "lastAsked": self.asked.get(name),
                "decision": found.model_dump(by_alias=True) if (found := told.get(name)) is not None else None,
            }
            for name in sorted({*told, *(key.adapter for key in self.states)})
        ]
        return state_of(
            {
                "schema": "graft.dev/agent/v1",
                "pod": self.name,
                "wantedDigest": self.wanted_digest,
                "engine": {"state": "Ready" if self.engine_is_ready else "Starting"},
                "ready": self.ready,
                "adapters": adapters,
            }
        )

    def _measured(self, key: VersionKey) -> dict[str, object]:
        requests, errors = self.measured.get(key, (0, 0))
        return {"requests": requests, "errors": errors, "latency": {-16: requests - errors}}

    def _probes(self, key: VersionKey) -> dict[str, object] | None:
        """Return the version's score where it is to be scored, and the other one can be, too."""
        for adapter in self.wanted.adapters if self.wanted else ():
            pair = adapter.scored_versions
            if pair is not None and key in pair and all(self.states.get(item) is VersionState.PROVEN for item in pair):
                right = 0 if (key.adapter, key.number) in self.answers_wrongly else PROBES
                return {"of": pair[0].manifest_digest, "total": PROBES, "asked": PROBES, "right": right}
        return None

    def _answer_requests(self) -> None:
        for share in (share for name in self.routes for share in self._live(name)):
            key, count = share.version, REQUESTS_PER_TICK * share.weight // 100
            requests, errors = self.measured.get(key, (0, 0))
            failed = count if (key.adapter, key.number) in self.fails else 0
            self.measured[key] = (requests + count, errors + failed)

    def _live(self, adapter: str) -> Route:
        route = self.routes.get(adapter, ())
        return tuple(share for share in route if self.states.get(share.version) is VersionState.PROVEN)

    def _seen(self, wanted: WantedSet) -> planning.Observed:
        return planning.Observed(
            wanted=wanted,
            versions={
                key: planning.VersionObserved(state=state, loaded=state is VersionState.PROVEN)
                for key, state in self.states.items()
            },
            routes=self.routes,
            engine_ready=self.engine_is_ready,
            engine_names={},
            folders=(),
            cache_bytes=0,
        )

    def _take(self, step: planning.Step) -> None:
        match step:
            case planning.BringUp(key):
                self.loading[key] = self.loading.get(key, 0) + self.engine_is_ready
                done = self.loading[key] >= TICKS_TO_LOAD + self.slowness
                refused = (key.adapter, key.number) in self.refuses
                ended = VersionState.REFUSED if refused else VersionState.PROVEN
                self.states[key] = ended if done else VersionState.LOADING
            case planning.Drain(key):
                self.states[key] = VersionState.DRAINING
            case planning.Retire(key):
                del self.states[key]
                self.loading.pop(key, None)
