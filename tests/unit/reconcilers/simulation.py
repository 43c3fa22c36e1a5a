"""Drives the real reconcilers through a small world, and holds every single step to what users were promised."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.builders import base_id, source_of
from tests.kstatus import kstatus
from tests.unit.reconcilers.cluster_in_memory import OperatorKilledError
from tests.unit.reconcilers.merged_deployment import answers_as, is_merged
from tests.unit.reconcilers.serving_pod import ServingPod
from tests.unit.reconcilers.world import World

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.conditions import Condition, find, is_true
from graft_operator.controller_runtime.controller import TransientError
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey, Key
from graft_operator.manifests import labels
from graft_serving.proxy.routing import AskPeers, Decision, Forward, ToVersion

NAMESPACE = "team-a"
LETTERS = {base_id(letter): letter for letter in "ABCDEFGHIJ"}
"""What tests call bases, by their digests."""
ADAPTER_CONDITIONS = {
    "Stalled",
    "Reconciling",
    "Ready",
    "Accepted",
    "Trained",
    "Evaluated",
    "Published",
    "Served",
    "UpToDate",
}
ROUNDS_TO_SETTLE = 80
"""Twice what the longest scenario takes."""
STEPS_BESIDE = 5
"""Of the event loop: more than the reading of a ConfigMap or the writing of a verdict takes, where nothing waits."""
QUIET_ROUNDS = 5
"""So many rounds without a write mean that there is none to come: longer than any rest after a failure."""


class Simulation:
    """A world with one base and its adapters, in which every step is checked."""

    def __init__(self, *adapters: str, replicas: int = 1) -> None:
        self.world = World()
        self.answered: set[str] = set()
        """Adapters that have answered, and therefore must go on answering."""
        self.ending: set[str] = set()
        """Adapters that need not answer, until they have stopped: what answers yet may be on its way out."""
        self.write_base("a", serving={"replicas": replicas})
        for name in adapters or ("support",):
            self.write_adapter(name)

    # What people do.

    def write_base(self, source: str | None = None, **spec: Any) -> None:
        """Apply the BaseModel; ``source`` bumps it."""
        live = self.world.cluster.objects.get(("BaseModel", "tiny"), {}).get("spec", {})
        changed = {"source": source_of(source)} if source else {}
        self.world.cluster.put("BaseModel", "tiny", spec=live | changed | spec)

    def write_adapter(self, name: str = "support", **spec: Any) -> None:
        """Apply a LoraAdapter; keywords replace fields of its spec, None removes one."""
        defaults = {"baseModelRef": {"name": "tiny"}, "dataset": {"s3": {"uri": f"s3://data/{name}.jsonl"}}}
        live = self.world.cluster.objects.get(("LoraAdapter", name), {}).get("spec", defaults)
        wanted = {field: value for field, value in (live | spec).items() if value is not None}
        self.world.cluster.put("LoraAdapter", name, spec=wanted)

    def import_adapter(self, name: str = "support", **source: Any) -> None:
        """Apply a LoraAdapter without rows that is imported; keywords are fields of its source."""
        self.write_adapter(name, dataset=None, source={"s3": {"uri": f"s3://models/{name}/"}} | source)

    def upload(self, content: str, name: str = "support") -> None:
        """Put another adapter where this one is imported from."""
        self.world.contents[f"s3://models/{name}/"] = content

    def delete_adapter(self, name: str = "support") -> None:
        """Ask for the adapter's deletion: from now on it need not answer."""
        self.answered.discard(name)
        self.ending.add(name)
        self.world.cluster.ask_deletion("LoraAdapter", name, self.world.now)

    def delete_base(self, *, foreground: bool = False) -> None:
        """Ask for the base's deletion."""
        self.world.cluster.ask_deletion("BaseModel", "tiny", self.world.now, foreground=foreground)

    # What time does.

    async def round(self, order: Sequence[str] | None = None) -> int:
        """Reconcile everything once, let the world go on for a moment, and return how much the operator wrote."""
        before = self.world.cluster.writes
        for name in order or ("tiny", *self.adapters()):
            await self.reconcile(name)
        for _ in self.adapters():
            self.world.artifacts.audit_next()
        self.world.tick()
        self.check_answers()
        return self.world.cluster.writes - before

    async def reconcile(self, name: str) -> None:
        """Run one pass over one object, as a worker does."""
        key = BaseKey(NAMESPACE, name) if name == "tiny" else AdapterKey(NAMESPACE, name)
        self.world.cluster.sync()
        try:
            await self.world.reconcilers.reconcile(key)
            await what_runs_beside()
        except TransientError:
            return
        except OperatorKilledError:
            self.world.restart_operator()
        else:
            self.check_readiness(name)
        self.check_answers()
        self.check_status()

    async def world_goes_on(self) -> None:
        """Reconcile everything once and let a moment pass, with statuses that nobody here can read."""
        self.world.cluster.sync()
        keys: list[Key] = [BaseKey(NAMESPACE, "tiny"), *(AdapterKey(NAMESPACE, name) for name in self.adapters())]
        for key in keys:
            await self.world.reconcilers.reconcile(key)
            await what_runs_beside()
        self.world.tick()

    async def rounds(self, count: int) -> None:
        """Let some time pass."""
        for _ in range(count):
            await self.round()

    async def settle(self) -> None:
        """Let time pass until the operator writes nothing any more."""
        quiet = 0
        for _ in range(ROUNDS_TO_SETTLE):
            quiet = quiet + 1 if await self.round() == 0 else 0
            if quiet == QUIET_ROUNDS:
                return
        raise AssertionError("the operator never comes to rest")

    # What is true.

    def adapters(self) -> list[str]:
        return [body["metadata"]["name"] for body in self.world.cluster.of_kind("LoraAdapter")]

    def status(self, name: str = "support") -> LoraAdapterStatus:
        body = self.world.cluster.objects["LoraAdapter", name]
        return LoraAdapterStatus.model_validate(body.get("status", {}))

    def reason(self, condition: str, name: str = "support", kind: str = "LoraAdapter") -> str:
        found = self._condition(condition, name, kind)
        return found.reason if found else ""

    def told(self, condition: str, name: str = "support", kind: str = "LoraAdapter") -> str:
        """Return the message of a condition."""
        found = self._condition(condition, name, kind)
        return found.message if found else ""

    def _condition(self, condition: str, name: str, kind: str) -> Condition | None:
        told = self.world.cluster.objects[kind, name].get("status", {}).get("conditions", ())
        return find(map(Condition.model_validate, told), condition)

    def health(self, kind: str = "LoraAdapter", name: str = "support") -> str:
        return kstatus(self.world.cluster.objects[kind, name])

    def started_warm(self, name: str = "support") -> dict[int, int | None]:
        """Return, by version, the version whose weights its training began with."""
        versions = self.status(name).versions
        return {version.number: version.warm_start.number if version.warm_start else None for version in versions}

    def jobs(self) -> list[str]:
        return [body["metadata"]["name"] for body in self.world.cluster.of_kind("Job")]

    def revisions(self) -> set[str]:
        """Return the letters of the bases that have a Deployment."""
        deployments = [body for body in self.world.cluster.of_kind("Deployment") if not is_merged(body)]
        return {LETTERS[body["metadata"]["annotations"][labels.RECIPE]] for body in deployments}

    def answers(self, name: str = "support") -> set[str]:
        """Return who answers requests for the adapter, over every pod that a client may hit: ``v1@a`` or ``nobody``."""
        return {self._answer(pod, name) for pod in self.world.pods.values() if pod.ready}

    def _answer(self, pod: ServingPod, name: str) -> str:
        return self._carried_out(pod, pod.resolve(name, forwarded=False), name)

    def _carried_out(self, pod: ServingPod, decision: Decision, name: str) -> str:
        if isinstance(decision, AskPeers):
            return self._answer_of_peers(decision, name) or self._carried_out(pod, decision.otherwise, name)
        if isinstance(decision, Forward):
            return self._forwarded(decision.url, name)
        return self._label(pod, decision.key.number) if isinstance(decision, ToVersion) else "nobody"

    def _answer_of_peers(self, decision: AskPeers, name: str) -> str:
        """Return who answers of the pods that are asked in turn; empty where none does."""
        for asked in decision.peers:
            peer = self.world.pods.get(asked.name)
            found = peer.resolve(name, forwarded=False, from_peer=True) if peer else None
            if peer is not None and isinstance(found, ToVersion):
                return self._label(peer, found.key.number)
        return ""

    def _forwarded(self, url: str, name: str) -> str:
        """Return who answers behind the Service of another revision: any of its pods may be hit."""
        service = url.removeprefix("http://").partition(".")[0]
        exists = ("Service", service) in self.world.cluster.objects
        peers = [peer for peer in self.world.pods.values() if peer.ready and peer.name.startswith(f"{service}-")]
        found = {self._carried_out(peer, peer.resolve(name, forwarded=True), name) for peer in peers if exists}
        return "nobody" if "nobody" in found or not found else min(found)

    def _label(self, pod: ServingPod, number: int) -> str:
        return f"v{number}@{LETTERS[pod.base_digest].lower()}"

    def check_answers(self) -> None:
        """An adapter that has once answered everywhere always answers: on the base's engine, merged, or as both.

        One that is loaded on demand need not.
        """
        for body in self.world.cluster.of_kind("LoraAdapter"):
            name = body["metadata"]["name"]
            serving = body["spec"].get("serving", {})
            may_stop = serving.get("mode") == "None" or serving.get("residency") == "OnDemand"
            if "deletionTimestamp" in body["metadata"] or may_stop:
                self.answered.discard(name)
                self.ending.add(name)
                continue
            # Asked once: a simulation spends much of its time on it.
            answers = self.answers(name)
            is_answered = self._is_answered(name, answers)
            if not is_answered:
                self.ending.discard(name)
            if name in self.ending:
                continue
            if is_answered:
                self.answered.add(name)
            if name in self.answered and answers:
                assert is_answered, f"{name} has stopped answering: {answers}"

    def is_answered(self, name: str) -> bool:
        """Whether every request for the adapter is answered, at one of the two places where it may be served."""
        return self._is_answered(name, self.answers(name))

    def _is_answered(self, name: str, answers: set[str]) -> bool:
        on_engine = bool(answers) and "nobody" not in answers
        return on_engine or "nobody" not in answers_as(self.world.cluster, name)

    def check_readiness(self, name: str) -> None:
        """Who says Ready after a look answers, and where the status says so."""
        body = self.world.cluster.objects.get(("LoraAdapter", name))
        if body is None or "deletionTimestamp" in body["metadata"]:
            return
        status = self.status(name)
        ready = find(status.conditions, "Ready")
        if ready is not None and ready.reason == "Serving" and not self.is_being_placed(name):
            assert self.is_answered(name), f"{name} says that it is served"
        if ready is not None and status.serving.endpoint is not None:
            assert "nobody" not in answers_as(self.world.cluster, name), f"{status.serving.endpoint} does not answer"

    def is_being_placed(self, name: str) -> bool:
        """Whether a pod has not heard yet that the adapter is to be on some of them only; it lets requests wait."""
        if self.world.cluster.objects["LoraAdapter", name]["spec"].get("serving", {}).get("replicas") is None:
            return False
        told = [item for pod in self.world.pods.values() if pod.wanted for item in pod.wanted.adapters]
        return any(item.name == name and item.pods is None for item in told)

    def check_status(self) -> None:
        """What the status says is so, and kstatus can read it."""
        for name in self.adapters():
            status = self.status(name)
            if not status.conditions:
                continue
            types = [condition.type for condition in status.conditions]
            assert set(types) - {"SourceChecked"} == ADAPTER_CONDITIONS
            assert types[:3] == ["Stalled", "Reconciling", "Ready"]
            assert not (is_true(status.conditions, "Reconciling") and is_true(status.conditions, "Stalled"))
            if is_true(status.conditions, "UpToDate") and status.served_version is not None:
                ready = find(status.conditions, "Ready")
                assert ready is not None
                known = ("NotResident", "Loading", "ObjectRefused")
                assert ready.status == "True" or ready.reason in known, f"{name}: {ready}"
        assert len(set(self.world.trained)) == len(self.world.trained), "a recipe was trained twice"


async def what_runs_beside() -> None:
    """Let what passes have begun beside themselves come to its end; raise what has killed the operator there."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(STEPS_BESIDE):
        await asyncio.sleep(0)
    for task in tasks:
        if task.done() and not task.cancelled() and isinstance(error := task.exception(), OperatorKilledError):
            raise error
