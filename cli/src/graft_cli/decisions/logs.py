"""Which pods' logs to show for an adapter: of its training, its base's import, or its serving pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graft_cli.client.objects import Adapter, Base
from graft_cli.errors import Refused
from graft_operator.manifests import labels, naming
from graft_operator.manifests.jobs.preparation_job import COMPONENT as PREPARATION
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_operator.manifests.workloads.serving import SERVING

Of = Literal["auto", "training", "serving", "import"]
TRAINING, IMPORT = "training", "import"


@dataclass(frozen=True, slots=True)
class LogSource:
    """Pods by their labels, and the container that speaks; an empty one is the first."""

    what: str
    selector: str
    container: str = ""


def log_source(adapter: Adapter, base: Base | None, of: Of = "auto") -> LogSource:
    """Return what runs now for the adapter, or what is asked for. Raises Refused where there is nothing."""
    if of == "training" or (of == "auto" and trains(adapter)):
        return training_logs(adapter)
    if of == "import" or (of == "auto" and base is not None and base.status.resolved is None):
        return import_logs(adapter, base)
    if adapter.status.serving.target is not None:
        return serving_logs(adapter, base)
    fix = f"`kubectl graft status {adapter.metadata.name}` tells what it waits for"
    raise Refused(f"nothing runs for {adapter.metadata.name} now", fix=fix)


def trains(adapter: Adapter) -> bool:
    """Whether a training runs, or its failure is what is to be known."""
    return adapter.status.training is not None or adapter.status.failed_trainings is not None


def training_logs(adapter: Adapter) -> LogSource:
    """Return the pods of the training that runs, or of all that have failed and are still there."""
    progress = adapter.status.training
    if progress is not None:
        return LogSource(f"Job {progress.job}", f"batch.kubernetes.io/job-name={progress.job}", "trainer")
    what = f"trainings of {adapter.metadata.name}, and of what prepared their rows"
    components = f"{labels.COMPONENT} in ({TRAINING},{PREPARATION})"
    return LogSource(what, f"{labels.OWNER_UID}={adapter.metadata.uid},{components}", "trainer")


def import_logs(adapter: Adapter, base: Base | None) -> LogSource:
    """Return the pods that import the base."""
    if base is None:
        raise Refused(f"there is no BaseModel {adapter.base_name}", fix="create it, or mend spec.baseModelRef")
    return LogSource(f"import of BaseModel {base.metadata.name}", owned_by(base.metadata.uid, IMPORT))


def serving_logs(adapter: Adapter, base: Base | None) -> LogSource:
    """Return the pods that answer: those of the merged model, or the agents beside the base's engines."""
    serving, name = adapter.status.serving, adapter.metadata.name
    if serving.mode_in_force == "Merged":
        return LogSource(f"merged model of {name}", owned_by(adapter.metadata.uid, MERGED), "engine")
    if base is None or serving.target is None:
        raise Refused(f"there is no BaseModel {adapter.base_name} to serve {name}", fix="create it")
    selector = f"{owned_by(base.metadata.uid, SERVING)},{labels.BASE_DIGEST}={naming.short(serving.target.base_digest)}"
    return LogSource(f"agents of BaseModel {base.metadata.name}", selector, "agent")


def answering_pods(adapter: Adapter | None, base: Base) -> tuple[str, ...]:
    """Return the selectors of all pods that may answer for the base or the adapter, those that most likely do first."""
    of_base = owned_by(base.metadata.uid, SERVING)
    if adapter is None or adapter.status.serving.mode_in_force != "Merged":
        return (of_base,)
    return (owned_by(adapter.metadata.uid, MERGED), of_base)


def owned_by(uid: str, component: str) -> str:
    """Return the selector of an owner's pods of one kind."""
    return f"{labels.OWNER_UID}={uid},{labels.COMPONENT}={component}"
