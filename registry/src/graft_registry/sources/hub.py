"""Repositories on a Hugging Face hub: the only module that knows huggingface_hub (the ``hub`` extra)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi, constants, errors, hf_hub_url

from graft_registry.documents import HuggingFaceSource
from graft_registry.sources.dataset_files import files_of_split
from graft_registry.sources.source_files import (
    SourceError,
    SourceProblem,
    check_listing,
    wanted,
)

_OWN_CA: Final = (
    "; the hub's certificate is signed by a CA that is not known here: mount the CA's certificate and name its file in "
    "SSL_CERT_FILE (docs/object-store.md)"
)


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """Downloaded files of a dataset: the commit they are from, and their paths below repository and directory."""

    commit: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelListing:
    """The files of a model's repository at one commit, with the hashes of those that the hub tells: the large ones.

    A mirror may tell no ``sizes``.
    """

    commit: str
    sha256: dict[str, str | None]
    sizes: dict[str, int | None]


def list_model(source: HuggingFaceSource, *, endpoint: str | None, token: str | None, field: str) -> ModelListing:
    """Return the files of a model without downloading any; works although ``HF_HUB_OFFLINE`` is set.

    ``token``: None sends none, whatever the environment holds.

    Raises:
        SourceError: no such repository or revision, no access, or the hub is away.
    """
    where = f"{source.repo}@{source.revision}"
    hub = HfApi(endpoint=endpoint, token=token or False)
    with _online(), _explained(where, field):
        info = hub.model_info(source.repo, revision=source.revision, files_metadata=True)
    siblings = info.siblings or ()
    return ModelListing(
        str(info.sha),
        sha256={file.rfilename: file.lfs.sha256 if file.lfs else None for file in siblings},
        sizes={file.rfilename: file.lfs.size if file.lfs else file.size for file in siblings},
    )


def size_of_model_file(
    source: HuggingFaceSource, name: str, *, endpoint: str | None, token: str | None, field: str
) -> int | None:
    """Return the bytes of one file of a model, None where the hub doesn't tell; it then can't be downloaded, either.

    Raises:
        SourceError: it is gone, no access, or the hub is away.
    """
    hub = HfApi(endpoint=endpoint, token=token or False)
    with _online(), _explained(f"{source.repo}@{source.revision}", field):
        url = hf_hub_url(source.repo, name, revision=source.revision, endpoint=endpoint)
        size: int | None = hub.get_hf_file_metadata(url=url, token=token or False).size
    return size


def download_model_file(
    source: HuggingFaceSource,
    name: str,
    directory: Path,
    *,
    endpoint: str | None,
    token: str | None,
    field: str,
) -> Path:
    """Download one file of a model, at a commit that ``list_model`` gave, and return where it lies below ``directory``.

    Raises:
        SourceError: it is gone, no access, or the hub is away.
    """
    hub = HfApi(endpoint=endpoint, token=token or False)
    with _online(), _explained(f"{source.repo}@{source.revision}", field):
        return Path(hub.hf_hub_download(source.repo, name, revision=source.revision, local_dir=directory))


def download_snapshot(source: HuggingFaceSource, directory: Path, *, endpoint: str | None, token: str | None) -> str:
    """Download the wanted files of a model and return the 40-hex commit that its revision stands for.

    Args:
        source: the repository and revision.
        directory: to download into.
        endpoint: URL of a mirror, None for the public hub.
        token: for gated and private repositories.

    Raises:
        SourceError: no such repository or revision, no access, only pickles, or the hub is away.
    """
    where, field = f"{source.repo}@{source.revision}", "spec.source.huggingFace"
    hub = HfApi(endpoint=endpoint, token=token)
    with _explained(where, field):
        info = hub.model_info(source.repo, revision=source.revision)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        check_listing(names, where=where, field=f"{field}.repo")
        commit = str(info.sha)
        hub.snapshot_download(
            source.repo,
            revision=commit,
            local_dir=directory,
            # Names, of which a bracket would be a pattern; no file of a model has one.
            allow_patterns=[name for name in names if wanted(name)],
        )
    return commit


def download_dataset(
    source: HuggingFaceSource,
    directory: Path,
    *,
    file: str | None,
    split: str,
    endpoint: str | None,
    token: str | None,
    field: str,
) -> DatasetFiles:
    """Download one file of a dataset, or the files of a split; works although ``HF_HUB_OFFLINE`` is set.

    Args:
        source: the repository and revision.
        directory: to download into.
        file: path of the file in the repository; None for those of the split.
        split: see ``files_of_split``.
        endpoint: URL of a mirror, None for the public hub.
        token: for gated and private repositories; None sends none, whatever the environment holds.
        field: of the spec, that names the repository.

    Raises:
        SourceError: no such repository, revision, file or split, no access, or the hub is away.
    """
    where = f"{source.repo}@{source.revision}"
    hub = HfApi(endpoint=endpoint, token=token or False)
    with _online(), _explained(where, field):
        info = hub.dataset_info(source.repo, revision=source.revision)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        if file is None:
            wanted = files_of_split(names, split, where=where, field=f"{field}.split")
        elif file in names:
            wanted = [file]
        else:
            raise SourceError(SourceProblem.NOT_FOUND, f"{where} has no file {file}", f"{field}.file")
        commit = str(info.sha)
        for name in wanted:
            hub.hf_hub_download(source.repo, name, repo_type="dataset", revision=commit, local_dir=directory)
    return DatasetFiles(commit, tuple(wanted))


@contextmanager
def _explained(where: str, field: str) -> Iterator[None]:
    try:
        yield
    except errors.GatedRepoError as error:
        raise _problem(SourceProblem.FORBIDDEN, where, error, f"{field}.repo") from error
    except errors.RevisionNotFoundError as error:
        raise _problem(SourceProblem.NOT_FOUND, where, error, f"{field}.revision") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise _problem(SourceProblem.NOT_FOUND, where, error, f"{field}.repo") from error
    # The hub's client re-exports its transport's base error, whatever that transport is.
    except (errors.HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = SourceProblem.FORBIDDEN if status in (401, 403) else SourceProblem.UNAVAILABLE
        raise _problem(reason, where, error, f"{field}.repo") from error


@contextmanager
def _online() -> Iterator[None]:
    """Let requests through in a process whose environment says ``HF_HUB_OFFLINE``, which is read once, at import."""
    offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _problem(reason: SourceProblem, where: str, error: Exception, field: str) -> SourceError:
    advice = _OWN_CA if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
    return SourceError(reason, f"{where}: {error}{advice}", field)
