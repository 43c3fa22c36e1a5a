"""One export: from the registry to a place."""

from collections.abc import Mapping
from pathlib import Path

from graft_registry.exports import hub_upload, mlflow_models, wandb_artifacts
from graft_registry.exports.destination import Destination, Place
from graft_registry.exports.hub_layout import write_directory
from graft_registry.exports.oci_push import push
from graft_registry.exports.opened_version import OpenedVersion


def export(version: OpenedVersion, to: Destination, environ: Mapping[str, str], *, overwrite: bool) -> str:
    """Bring a version to a place, and return what it is called there. What is there already is not brought again.

    Raises:
        VersionConflict: something else is there, and is not to be overwritten.
        RegistryError: as the place answers.
        ValueError: a package is missing that the place needs.
    """
    match to.place:
        case Place.OCI:
            return push(version, to.name, environ, overwrite=overwrite)
        case Place.HUB:
            return hub_upload.upload(version, to.name, environ)
        case Place.MLFLOW:
            return mlflow_models.register(version, to.name)
        case Place.WANDB:
            return wandb_artifacts.log_artifact(version, to.name)
        case Place.DIRECTORY:
            return f"dir:{write_directory(version, Path(to.name), overwrite=overwrite)}"
