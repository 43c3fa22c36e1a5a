"""Registers a version with MLflow, by MLflow's own client, the package ``mlflow``."""

import tempfile
from pathlib import Path
from typing import Any, Final

from graft_registry.errors import Forbidden, RegistryError, Unavailable
from graft_registry.exports.hub_layout import lay_out
from graft_registry.exports.model_card import base_model_id
from graft_registry.exports.opened_version import OpenedVersion
from graft_registry.exports.optional import needed

_EXPERIMENT: Final = "graft"
_FOLDER: Final = "adapter"
_DIGEST_TAG: Final = "graft.manifestDigest"
_AWAY: Final = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "INTERNAL_ERROR")
_REFUSED: Final = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def register(version: OpenedVersion, model: str) -> str:
    """Make a version the next one of a registered model, and return ``mlflow://model/number``. Nothing is made twice.

    MLflow's own variables say where it is: ``MLFLOW_TRACKING_URI`` and those of its logins. The files, laid out as
    for a hub, are artifacts of a run with the hyperparameters and scores, in the experiment ``graft``.

    Raises:
        Forbidden, Unavailable, RegistryError: as MLflow answers.
    """
    mlflow = needed("mlflow", "mlflow")
    client = mlflow.MlflowClient()
    try:
        known = _known(client, model, version.stored.digest)
        number = known if known is not None else _registered(client, mlflow, version, model)
    except mlflow.exceptions.MlflowException as error:
        raise _explained(model, error) from error
    return f"mlflow://{model}/{number}"


def _known(client: Any, model: str, digest: str) -> str | None:
    """Return the number under which the version was registered before."""
    found = client.search_model_versions(f"name='{model}'")
    return next((str(item.version) for item in found if item.tags.get(_DIGEST_TAG) == digest), None)


def _registered(client: Any, mlflow: Any, version: OpenedVersion, model: str) -> str:
    manifest = version.manifest
    if not client.search_registered_models(f"name='{model}'"):
        client.create_registered_model(model, description=f"LoRA adapter {manifest.namespace}/{manifest.adapter}")
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(_EXPERIMENT)
    run = client.create_run(experiment_id, run_name=version.title)
    run_id = run.info.run_id
    for name, value in parameters(version).items():
        client.log_param(run_id, name, value)
    for name, score in scores(version).items():
        client.log_metric(run_id, name, score)
    with tempfile.TemporaryDirectory() as directory:
        lay_out(version, Path(directory))
        client.log_artifacts(run_id, directory, _FOLDER)
    client.set_terminated(run_id)
    tags = {_DIGEST_TAG: version.stored.digest, "graft.version": str(manifest.number)}
    made = client.create_model_version(
        model, source=f"{run.info.artifact_uri}/{_FOLDER}", run_id=run_id, tags=tags, description=version.title
    )
    return str(made.version)


def parameters(version: OpenedVersion) -> dict[str, str]:
    """Return what a version was made with, by plain names. Pure."""
    manifest = version.manifest
    named = {
        "base_model": base_model_id(manifest.base),
        "base_digest": manifest.base.digest,
        "method": manifest.method,
        "rank": manifest.shape.rank,
        "alpha": manifest.shape.alpha,
        "target_modules": ",".join(manifest.shape.target_modules),
        "seed": manifest.seed,
    }
    return {name: str(value) for name, value in named.items()}


def scores(version: OpenedVersion) -> dict[str, float]:
    """Return what was measured. Pure."""
    measured = version.manifest.metrics.model_dump(by_alias=False)
    return {name: float(value) for name, value in measured.items() if value is not None}


def _explained(model: str, error: Any) -> RegistryError:
    code, message = str(getattr(error, "error_code", "")), f"mlflow://{model}: {error}"
    if code in _REFUSED:
        return Forbidden(f"{message}; set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD")
    if code in _AWAY:
        return Unavailable(f"{message}; is MLFLOW_TRACKING_URI right?")
    return RegistryError(message)
