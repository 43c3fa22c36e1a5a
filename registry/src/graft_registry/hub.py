"""Snapshots of Hugging Face repositories: the only module that knows huggingface_hub (the ``hub`` extra)."""

from pathlib import Path

from huggingface_hub import HfApi, errors

from graft_registry.documents import HuggingFaceSource
from graft_registry.source_files import (
    UNWANTED_FILES,
    WANTED_FILES,
    SourceError,
    SourceProblem,
    check_listing,
)


def download_snapshot(source: HuggingFaceSource, directory: Path, *, endpoint: str | None, token: str | None) -> str:
    """Download the wanted files of a repository and return the 40-hex commit that its revision stands for.

    Args:
        source: the repository and revision.
        directory: to download into.
        endpoint: URL of a mirror, None for the public hub.
        token: for gated and private repositories.

    Raises:
        SourceError: no such repository or revision, no access, only pickles, or the hub is away.
    """
    where = f"{source.repo}@{source.revision}"
    try:
        return _download(HfApi(endpoint=endpoint, token=token), source, directory, where)
    except errors.GatedRepoError as error:
        raise _problem(SourceProblem.FORBIDDEN, where, error, "repo") from error
    except errors.RevisionNotFoundError as error:
        raise _problem(SourceProblem.NOT_FOUND, where, error, "revision") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise _problem(SourceProblem.NOT_FOUND, where, error, "repo") from error
    # The hub's client re-exports its transport's base error, whatever that transport is.
    except (errors.HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = SourceProblem.FORBIDDEN if status in (401, 403) else SourceProblem.UNAVAILABLE
        raise _problem(reason, where, error, "repo") from error


def _download(hub: HfApi, source: HuggingFaceSource, directory: Path, where: str) -> str:
    info = hub.model_info(source.repo, revision=source.revision)
    names = [sibling.rfilename for sibling in info.siblings or ()]
    check_listing(names, where=where, field="spec.source.huggingFace.repo")
    commit = str(info.sha)
    hub.snapshot_download(
        source.repo,
        revision=commit,
        local_dir=directory,
        allow_patterns=list(WANTED_FILES),
        ignore_patterns=list(UNWANTED_FILES),
    )
    return commit


def _problem(reason: SourceProblem, where: str, error: Exception, field: str) -> SourceError:
    return SourceError(reason, f"{where}: {error}", f"spec.source.huggingFace.{field}")
