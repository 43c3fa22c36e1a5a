"""What pods tell: what they hold, and how a training goes. It is asked when somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from graft_cli.asking import as_they_come
from graft_cli.client.connection import Connection
from graft_cli.client.objects import Adapter, Base
from graft_cli.cluster.workloads import Pod, agent_state, log_lines, pods
from graft_cli.dashboard.curves import Curve, logged, merged
from graft_cli.dashboard.holdings import Holding, holding
from graft_cli.decisions.logs import owned_by, training_logs
from graft_cli.errors import GraftError
from graft_operator.manifests.naming import STATE_PORT
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_operator.manifests.workloads.serving import SERVING

ASKED_AT_ONCE: Final = 8
PODS_ASKED: Final = 200
LINES_READ: Final = 5_000
"""Of a trainer's log, its last ones."""
BYTES_READ: Final = 8 << 20
"""Of these lines: a trainer runs what its tenant has chosen, which may print anything."""

SEEN, LOGGED = "Seen", "Logged"


class Workloads(Protocol):
    """Pods, as one person may see them. Every method raises GraftError."""

    def pods(self, namespace: str, selector: str) -> list[Pod]:
        """Return the pods with these labels, the oldest first."""

    def state(self, pod: Pod) -> Any:
        """Return what the pod's agent tells."""

    def log(self, pod: Pod, container: str) -> Iterable[str]:
        """Return the last lines of a container's log."""


class ClusterWorkloads:
    """The pods of a cluster."""

    def __init__(self, connection: Connection, *, port: int = STATE_PORT) -> None:
        self._connection, self._port = connection, port

    def pods(self, namespace: str, selector: str) -> list[Pod]:
        """Return the pods with these labels, the oldest first."""
        return pods(self._connection, namespace, selector)

    def state(self, pod: Pod) -> Any:
        """Return what the pod's agent tells."""
        return agent_state(self._connection, pod, self._port)

    def log(self, pod: Pod, container: str) -> Iterable[str]:
        """Return the last lines of a container's log."""
        return log_lines(self._connection, pod, container, follow=False, tail=LINES_READ, most=BYTES_READ)


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """A curve, and where its points are from."""

    curve: Curve | None
    source: str
    """Seen: what status has told since the dashboard was started. Logged: the trainer's log, too."""
    problem: str = ""
    """Why the log was not read."""


def holdings_of_base(workloads: Workloads, base: Base) -> tuple[Holding, ...]:
    """Return what each serving pod of a base holds. Raises GraftError where pods can't be listed."""
    return holdings(workloads, base.metadata.namespace, owned_by(base.metadata.uid, SERVING))


def holdings_of_merged(workloads: Workloads, adapter: Adapter) -> tuple[Holding, ...]:
    """Return what each pod of an adapter's merged model holds. Raises GraftError where pods can't be listed."""
    return holdings(workloads, adapter.metadata.namespace, owned_by(adapter.metadata.uid, MERGED))


def holdings(workloads: Workloads, namespace: str, selector: str) -> tuple[Holding, ...]:
    """Ask all pods with these labels, several at once; one that does not answer is no harm to the others."""
    found = workloads.pods(namespace, selector)[:PODS_ASKED]

    def ask(pod: Pod) -> Holding:
        try:
            return holding(pod.name, pod.node, pod.phase, workloads.state(pod))
        except GraftError as error:
            return Holding(pod=pod.name, node=pod.node, phase=pod.phase, problem=error.message)

    answers = dict(as_they_come(ask, found, ASKED_AT_ONCE))
    return tuple(answers[place] for place in range(len(found)))


def training_curve(workloads: Workloads, adapter: Adapter, seen: Curve | None) -> TrainingCurve:
    """Return the curve of the training that runs, or of the last one whose pods are still there."""
    source = training_logs(adapter)
    try:
        found = workloads.pods(adapter.metadata.namespace, source.selector)
        if not found:
            return TrainingCurve(seen, SEEN)
        job = found[-1].job
        lines = [line for pod in found if pod.job == job for line in workloads.log(pod, source.container)]
    except GraftError as error:
        return TrainingCurve(seen, SEEN, error.message)
    told = logged(lines, job)
    return TrainingCurve(merged(seen, told) if told.training or told.evaluation else seen or told, LOGGED)
