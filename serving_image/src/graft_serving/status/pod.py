"""The pod as others see it: the routing table for the router, the state document for the operator."""

from collections.abc import Hashable, Iterable, Mapping
from contextlib import AbstractContextManager

from graft_registry.documents import BaseManifest, BaseReference
from graft_serving.adapters.lifecycle import Lifecycle
from graft_serving.adapters.records import ProbeScore, VersionRecord, is_live
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.proxy.ejection import Ejections
from graft_serving.proxy.routing import Alias, Peer, RoutingTable, named
from graft_serving.status.demand import Demand
from graft_serving.status.documents import (
    AdapterStatus,
    AgentState,
    BaseState,
    EngineState,
    MeasuredState,
    ProbeScoreState,
    ShareState,
    VersionStatus,
)
from graft_serving.status.revision import Revision
from graft_serving.telemetry.pacing import Slices
from graft_serving.telemetry.traffic import Measured, Traffic
from graft_serving.versions import Route, VersionKey, VersionState
from graft_serving.wanted.documents import Decision, WantedAdapter, WantedPeer, WantedSet


class ServingPod:
    """A view on the lifecycle and the engine. Changes neither."""

    def __init__(
        self,
        *,
        name: str,
        base: BaseManifest | BaseReference,
        has_base: bool,
        peer: str | None,
        lifecycle: Lifecycle,
        monitor: EngineMonitor,
    ) -> None:
        """Show `lifecycle` and `monitor` as the pod `name` with versions of `base`; `peer` fronts all such pods.

        `has_base` says whether the bare base is served, too.
        """
        self._name = name
        self._base = base
        self._peer = peer.rstrip("/") if peer else None
        self._lifecycle = lifecycle
        self._monitor = monitor
        self._has_base = has_base
        self._table = RoutingTable(base_name=base.name, peer=self._peer, has_base=has_base)
        self._demand = Demand(on_missed=self._tell)
        self.revision = Revision()
        self.ejections = Ejections()
        """Which other pods to ask last."""

    @property
    def name(self) -> str:
        """The pod's own name."""
        return self._name

    @property
    def table(self) -> RoutingTable:
        """Who answers what, since the last `refresh`."""
        return self._table

    @property
    def is_ready(self) -> bool:
        """Whether the engine answers and every alias is as good as it gets."""
        return self._lifecycle.is_ready

    @property
    def engine_base_model(self) -> str | None:
        """The engine's own name for the base."""
        return self._monitor.base_model

    def traffic_of(self, key: VersionKey) -> Traffic:
        """The counters of a version that the table routes to."""
        return self._lifecycle.records[key].traffic

    def count_asked(self, model: str) -> None:
        """A client asks for this model, loaded or not; to ask for a version is to ask for its adapter."""
        adapter, _ = named(model)
        if (alias := self._table.aliases.get(adapter)) is not None:
            self._demand.count(adapter, is_missed=alias.is_missing)

    async def wait_for_news(self, seconds: float) -> None:
        """Return when the table may be another one, or after so many seconds."""
        await self.revision.wait_beyond(self.revision.name, seconds)

    def went_idle(self, key: VersionKey) -> None:
        """The last request under way on a version has ended."""
        self._lifecycle.went_idle(key)
        # In use until now; who it was loaded for may be gone from here by this time, and that is no new request.
        if key.adapter in self._table.aliases:
            self._demand.count(key.adapter, is_missed=False)

    def client_waits(self) -> AbstractContextManager[None]:
        """A client waits for the engine until the block ends."""
        return self._monitor.clients.waiting()

    def engine_lives(self) -> None:
        """The engine has given a client a part of an answer."""
        self._monitor.clients.note_sign_of_life()

    def suspect_engine(self) -> None:
        """A request failed on the engine."""
        self._monitor.suspect()

    def engine_is_dying(self) -> None:
        """The engine has said that its core is gone."""
        self._monitor.doubt()

    async def engine_survives(self) -> bool:
        """Whether the engine, which has just lost a request, still answers."""
        return await self._monitor.survives()

    def refresh(self) -> None:
        """Rebuild the routing table, and tell whoever waits for news of it.

        Called whenever the lifecycle has taken its steps, or the engine has changed.
        """
        wanted = self._lifecycle.wanted
        self._table = self._table_of(wanted)
        self._demand.keep(self._table.aliases)
        self.ejections.keep({peer.name for peer in wanted.peers} if wanted else ())
        self._tell()

    def _tell(self) -> None:
        self.revision.update(self._news())

    def _table_of(self, wanted: WantedSet | None) -> RoutingTable:
        if wanted is None:
            return RoutingTable(
                base_name=self._base.name,
                base_live=self._monitor.is_ready,
                peer=self._peer,
                has_base=self._has_base,
            )
        return RoutingTable(
            base_name=wanted.base.name,
            base_live=self._monitor.is_ready,
            base_forward_to=wanted.base.forward_to,
            aliases={
                adapter.name: self._alias(adapter, wanted.peers_with(adapter, besides=self._name))
                for adapter in wanted.adapters
            },
            peer=self._peer,
            has_base=self._has_base,
        )

    async def state(self) -> bytes:
        """The pod's state document as JSON, made without holding the event loop for long."""
        wanted = self._lifecycle.wanted
        by_name: dict[str, list[VersionRecord]] = {adapter.name: [] for adapter in wanted.adapters} if wanted else {}
        for key, record in sorted(self._lifecycle.records.items()):
            by_name.setdefault(key.adapter, []).append(record)
        head = self._state_without_adapters().model_dump_json(by_alias=True).removesuffix("]}")
        slices, adapters = Slices(), list[str]()
        decisions = {adapter.name: adapter.decision for adapter in wanted.adapters} if wanted else {}
        for name, records in by_name.items():
            status = self._adapter_status(name, records, decisions.get(name))
            adapters.append(status.model_dump_json(by_alias=True))
            await slices.pause_if_over()
        return f"{head}{','.join(adapters)}]}}".encode()

    def _state_without_adapters(self) -> AgentState:
        return AgentState(
            pod=self._name,
            revision=self.revision.name,
            wanted_digest=self._lifecycle.wanted_digest,
            message=self._lifecycle.message,
            base=BaseState(name=self._base.name, digest=self._base.digest),
            engine=EngineState(state=self._monitor.state, starts=self._monitor.starts, message=self._monitor.message),
            ready=self._lifecycle.is_ready,
            adapters=(),
        )

    def _news(self) -> Hashable:
        """What somebody may wait for: neither counters nor the steps of a version that is on its way."""
        lifecycle, monitor = self._lifecycle, self._monitor
        outcomes = (self._outcome(record) for record in lifecycle.records.values())
        routes = [(name, alias.live) for name, alias in self._table.aliases.items() if alias.live]
        return (
            (lifecycle.wanted_digest, lifecycle.message, lifecycle.is_ready, monitor.state, monitor.is_ready),
            self._demand.times_told,
            tuple(sorted(routes)),
            tuple(sorted(outcome for outcome in outcomes if outcome is not None)),
        )

    def _outcome(self, record: VersionRecord) -> tuple[VersionKey, VersionState, str, str, str] | None:
        """How a version's way has ended here, as it is told, and whose probes it is scored by; None before that."""
        state, reason, message = self._told_of(record)
        if state not in (VersionState.PROVEN, VersionState.REFUSED, VersionState.FAILING):
            return None
        scored_by = record.score.of if record.score is not None and record.score.complete else ""
        return record.key, state, reason, message, scored_by

    def _live_route(self, adapter: str) -> Route:
        route = self._lifecycle.routes.get(adapter, ())
        return tuple(share for share in route if self._is_live(share.version))

    def _alias(self, adapter: WantedAdapter, peers: tuple[WantedPeer, ...] | None) -> Alias:
        loaded = self._loaded(adapter)
        return Alias(
            live=self._live_route(adapter.name),
            forward_to=adapter.forward_to,
            peers=peers_of(peers),
            on_demand=adapter.on_demand,
            is_wanted=bool(adapter.versions),
            salts=self._salts(adapter.name),
            loaded=loaded,
            coming=self._coming(adapter, loaded),
        )

    def _loaded(self, adapter: WantedAdapter) -> dict[int, VersionKey]:
        routed = (share.version for share in self._lifecycle.routes.get(adapter.name, ()))
        return {key.number: key for key in (*routed, *adapter.version_keys) if self._is_live(key)}

    def _coming(self, adapter: WantedAdapter, loaded: Mapping[int, VersionKey]) -> dict[int, VersionKey]:
        absent = [key for key in adapter.version_keys if key.number not in loaded]
        records = ((key, self._lifecycle.records.get(key)) for key in absent)
        refused = VersionState.REFUSED
        return {key.number: key for key, record in records if record is None or record.state is not refused}

    def _salts(self, adapter: str) -> dict[VersionKey, str]:
        route = self._lifecycle.routes.get(adapter, ())
        records = (self._lifecycle.records.get(share.version) for share in route)
        return {record.key: record.salt for record in records if record is not None and record.salt}

    def _is_live(self, key: VersionKey) -> bool:
        return is_live(self._lifecycle.records.get(key), self._monitor)

    def _adapter_status(self, name: str, records: list[VersionRecord], decision: Decision | None) -> AdapterStatus:
        alias = self._table.aliases.get(name)
        live = tuple(share for share in alias.live if self._is_live(share.version)) if alias else ()
        is_busy = any(record.traffic.inflight for record in records)
        return AdapterStatus(
            name=name,
            active=tuple(ShareState(number=share.version.number, weight=share.weight) for share in live),
            versions=tuple(self._version_status(record) for record in records),
            decision=decision,
            last_asked=self._demand.last_asked(name, is_loaded=bool(live), is_busy=is_busy),
        )

    def _told_of(self, record: VersionRecord) -> tuple[VersionState, str, str]:
        """State, reason and message: who reads how a version's way has ended may ask for it."""
        state, reason, message = record.state, record.reason, record.message
        if state is VersionState.PROVEN and not is_live(record, self._monitor):
            # What was proven on an engine that is gone has to be proven again.
            state, reason, message = VersionState.PENDING, "EngineDown", "waiting for the engine to come back"
        elif self._is_news_to_the_router(record):
            # Its way has just ended, and the router hears of it in a moment.
            state, reason, message = VersionState.PROVING, "", ""
        return state, reason, message

    def _is_news_to_the_router(self, record: VersionRecord) -> bool:
        match record.state:
            case VersionState.PROVEN:
                return not self._table.has(record.key)
            case VersionState.REFUSED:
                return self._table.awaits(record.key)
            case _:
                return False

    def _version_status(self, record: VersionRecord) -> VersionStatus:
        state, reason, message = self._told_of(record)
        return VersionStatus(
            number=record.key.number,
            manifest_digest=record.key.manifest_digest,
            engine_name=record.key.engine_name,
            state=state,
            reason=reason,
            message=message,
            inflight=record.traffic.inflight,
            requests=record.traffic.requests,
            errors=record.traffic.errors,
            load_seconds=record.load_seconds,
            measured=_measured_state(record.traffic.measured),
            probes=_score_state(record.score),
        )


def _measured_state(measured: Measured) -> MeasuredState:
    return MeasuredState(requests=measured.requests, errors=measured.errors, latency=dict(measured.latency))


def _score_state(score: ProbeScore | None) -> ProbeScoreState | None:
    if score is None:
        return None
    return ProbeScoreState(of=score.of, total=score.total, asked=score.asked, right=score.right)


def peers_of(wanted: Iterable[WantedPeer] | None) -> tuple[Peer, ...] | None:
    """Return the pods that may be asked, as the router knows them; None where all of the base may."""
    return None if wanted is None else tuple(Peer(peer.name, peer.url) for peer in wanted)
