"""A namespace in the middle of its life, for the dashboard: everything that it shows is under way somewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.cli.conftest import NAMESPACE, manifest
from tests.unit.cli import objects
from tests.unit.cli.objects import condition, with_conditions

from graft_cli.client import FakeGraft
from graft_cli.cluster.workloads import Pod
from graft_cli.dashboard.access import new_token
from graft_cli.dashboard.answers import Answers, Place, Reports
from graft_cli.dashboard.board import Board
from graft_cli.dashboard.server import DashboardServer, running
from graft_cli.errors import GraftError
from graft_operator.api.adapter_status import AdapterServingStatus
from graft_operator.api.base_model import AdapterCounts, ServingRevision

HOSTILE = (
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "javascript:window.hacked=1",
    '"><svg onload=window.hacked=1>',
    "{{constructor.constructor('window.hacked=1')()}}",
    "\u202egnp.exe \u0000\u0007 \ud800 " + "x" * 900,
)
"""Words of tenants and of pods."""


UNSEEN = {"conditions": (), "versions": (), "served_version": None, "serving": AdapterServingStatus()}
SERVED = objects.base().raw["status"]["resolved"]["digest"]


@dataclass
class PodsInMemory:
    """Pods by selector; an agent's document, or the error of asking for it, and logs by the pods' names."""

    by_selector: dict[str, list[Pod]] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)

    def pods(self, namespace: str, selector: str) -> list[Pod]:
        return self.by_selector.get(selector, [])

    def state(self, pod: Pod) -> Any:
        found = self.states[pod.name]
        if isinstance(found, GraftError):
            raise found
        return found

    def log(self, pod: Pod, container: str) -> Iterable[str]:
        return self.logs[pod.name]


def lora(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    return manifest("LoraAdapter", raw, name=name)


def scene() -> FakeGraft:
    """Return two bases, and adapters in a canary, in training, blocked, pinned, and of a base that is not there."""
    trains = "Job topic-train-ab12cd34 trains: step 144 of 248"
    why = "spec.dataset.s3.uri: s3://data/train.jsonl does not exist"
    training = with_conditions(
        condition("Reconciling", "True", "Training", trains), condition("UpToDate", "False", "Training", trains)
    )
    blocked = with_conditions(
        condition("Stalled", "True", "BadDataset", why), condition("UpToDate", "False", "BadDataset", why)
    )
    gone = objects.adapter(baseModelRef={"name": "gone"}, status=UNSEEN)
    return FakeGraft(
        [
            manifest("BaseModel", served_base("tiny", 2).raw),
            manifest("BaseModel", served_base("qwen", 3, waiting=("intent", "tone")).raw),
            lora("support", objects.canary().raw),
            lora("topic", objects.adapter(status={"conditions": training, "training": objects.training()}).raw),
            lora("speech", objects.adapter(status={"conditions": blocked}).raw),
            lora("pinned", objects.adapter(version=3, suspend=True).raw),
            lora("summary", objects.adapter().raw),
            lora("orphan", gone.raw),
        ]
    )


def served_base(name: str, pods: int, waiting: tuple[str, ...] = ()) -> Any:
    revision = ServingRevision(
        digest=SERVED, deployment=f"graft-{name}-6f328dfa", replicas=pods, ready_replicas=2, waiting=waiting
    )
    counts = AdapterCounts(total=5, up_to_date=3, blocked=1)
    return objects.base(
        name, status={"serving": (revision,), "adapters": counts, "endpoint": f"http://graft-{name}:8000"}
    )


def agent(*adapters: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return what an agent tells of its pod."""
    engine = {"state": "Ready", "starts": 1, "message": ""}
    base = {"name": "tiny", "digest": SERVED}
    return {
        "schema": "graft.dev/agent/v1",
        "ready": True,
        "base": base,
        "engine": engine,
        "adapters": list(adapters),
    } | fields


def held(name: str, *shares: tuple[int, int], **fields: Any) -> dict[str, Any]:
    """Return an adapter on a pod: numbers of versions, and what part of its requests they answer."""
    versions = [{"number": number, "state": "Proven", "requests": 120, "errors": 1} | fields for number, _ in shares]
    active = [{"number": number, "weight": weight} for number, weight in shares]
    return {"name": name, "active": active, "versions": versions, "lastAsked": "2026-01-01T12:00:05Z"}


def workloads() -> PodsInMemory:
    """Return two pods of base tiny, one of which can't be asked, and the trainer of adapter topic."""
    serving = "graft.dev/owner-uid=uid-of-tiny,graft.dev/component=serving"
    job = objects.training().job
    names = ("graft-tiny-6f328dfa-abcde", "graft-tiny-6f328dfa-fghij")
    lines = [
        f"step {step}/248: loss {2.4 - step / 80 + (step % 7) / 40:.4f}, learning rate 1e-4"
        for step in range(8, 144, 8)
    ]
    lines += [f"step {step}/248: eval loss {2.6 - step / 90:.4f}" for step in (48, 96, 136)]
    return PodsInMemory(
        {
            serving: [
                Pod(NAMESPACE, name, "Running", ("agent", "engine"), node=f"node-{i}") for i, name in enumerate(names)
            ],
            f"batch.kubernetes.io/job-name={job}": [
                Pod(NAMESPACE, "topic-0", "Running", ("trainer",), node="node-0", job=job)
            ],
        },
        {
            names[0]: agent(held("support", (7, 10), (6, 90)), held("topic", (6, 100)), held("speech", (6, 100))),
            names[1]: GraftError("can't ask pod team-a/graft-tiny-6f328dfa-fghij what it holds: it does not answer"),
        },
        {"topic-0": lines},
    )


@contextmanager
def dashboard(
    graft: FakeGraft, pods: PodsInMemory | None = None, reports: Reports | None = None
) -> Iterator[DashboardServer]:
    """Serve what is in memory, as the plugin serves a cluster."""
    with Board(graft, NAMESPACE) as board:
        answers = Answers(Place("demo", NAMESPACE), graft, board, pods or workloads(), reports)
        with running(DashboardServer(answers, board, new_token())) as server:
            yield server
