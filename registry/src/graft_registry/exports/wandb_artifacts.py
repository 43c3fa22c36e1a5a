"""Logs a version to Weights & Biases, by its own client, the package ``wandb``."""

import tempfile
from pathlib import Path

from graft_registry.errors import Forbidden, Unavailable
from graft_registry.exports.hub_layout import lay_out
from graft_registry.exports.mlflow_models import parameters, scores
from graft_registry.exports.opened_version import OpenedVersion
from graft_registry.exports.optional import needed


def log_artifact(version: OpenedVersion, name: str) -> str:
    """Log a version as an artifact of the type ``model`` and return ``wandb://entity/project/name``.

    W&B gives the same content the same artifact version, so nothing is stored twice. ``WANDB_API_KEY`` is the login,
    ``WANDB_BASE_URL`` another server. The artifact has the aliases ``graft-v<number>`` and ``latest``.

    Raises:
        Forbidden: there is no login, or none that may.
        Unavailable: W&B could not be reached.
    """
    wandb = needed("wandb", "wandb")
    entity, project, collection = name.split("/")
    metadata = {**parameters(version), **scores(version), "manifest_digest": version.stored.digest}
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            wandb.init(entity=entity, project=project, job_type="export", config=metadata) as run,
        ):
            lay_out(version, Path(directory))
            artifact = wandb.Artifact(collection, type="model", description=version.title, metadata=metadata)
            artifact.add_dir(directory)
            logged = run.log_artifact(artifact, aliases=["latest", f"graft-v{version.manifest.number}"])
            if not run.offline:
                logged.wait()
    except (wandb.errors.AuthenticationError, wandb.errors.UsageError) as error:
        raise Forbidden(f"wandb://{name}: {error}; is WANDB_API_KEY set, to a key of {entity}?") from error
    except wandb.errors.Error as error:
        raise Unavailable(f"wandb://{name}: {error}; is WANDB_BASE_URL right?") from error
    return f"wandb://{name}"
