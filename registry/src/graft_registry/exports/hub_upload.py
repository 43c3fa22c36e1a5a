"""Uploads a version to a repository of a Hugging Face hub, by the hub's own client."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from graft_registry.errors import Forbidden, NotFound, RegistryError, Unavailable
from graft_registry.exports.hub_layout import lay_out
from graft_registry.exports.opened_version import OpenedVersion
from graft_registry.exports.optional import needed


def upload(version: OpenedVersion, repository: str, environ: Mapping[str, str]) -> str:
    """Commit a version to a repository and return ``hf://organisation/repository@commit``.

    A repository that isn't there is made, and is private. ``HF_TOKEN`` is the login, ``HF_ENDPOINT`` another hub. A hub
    keeps all commits, so nothing is lost by the next version.

    Raises:
        Forbidden, NotFound, Unavailable, RegistryError: as the hub answers.
    """
    hub = needed("huggingface_hub", "huggingface_hub")
    errors = needed("huggingface_hub.errors", "huggingface_hub")
    client = hub.HfApi(endpoint=environ.get("HF_ENDPOINT"), token=environ.get("HF_TOKEN"))
    try:
        with tempfile.TemporaryDirectory() as directory:
            lay_out(version, Path(directory))
            client.create_repo(repository, private=True, exist_ok=True)
            message = f"{version.title} ({version.stored.digest})"
            commit = client.upload_folder(repo_id=repository, folder_path=directory, commit_message=message)
    except (errors.HTTPError, errors.HFValidationError, OSError) as error:
        raise _explained(repository, error) from error
    return f"hf://{repository}@{commit.oid}"


def _explained(repository: str, error: Exception) -> RegistryError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    message = f"hf://{repository}: {error}"
    if status in (401, 403):
        return Forbidden(f"{message}; set HF_TOKEN to a token that may write there")
    if status == 404:
        return NotFound(f"{message}; look at the organisation's name, and HF_ENDPOINT")
    return Unavailable(message) if status is None or status == 429 or status >= 500 else RegistryError(message)
