"""Repositories on a Hugging Face hub, by its own client (the ``hub`` extra)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.utils import tqdm
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from graft_registry.documents import HuggingFaceSource
from graft_registry.documents.model import Sha256Hex
from graft_registry.sources.dataset_files import files_of_split
from graft_registry.sources.hub_errors import MoreThanToldError, explained
from graft_registry.sources.source_files import SourceError, SourceProblem, check_listing, wanted

_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """Downloaded files of a dataset: the commit they are from, and their paths below repository and directory."""

    commit: str
    names: tuple[str, ...]


@checked_dataclass(frozen=True, slots=True, config=ConfigDict(strict=True))
class ModelListing:
    """The files of a model's repository at one commit, with the hashes of those that the hub tells: the large ones.

    A mirror may tell no ``sizes``. What is told of another kind is refused: the hub's client takes it as it is.
    """

    commit: str
    sha256: dict[str, Sha256Hex | None]
    sizes: dict[str, Annotated[int, Field(ge=0)] | None]


def list_model(source: HuggingFaceSource, *, endpoint: str | None, token: str | None, field: str) -> ModelListing:
    """Return the files of a model without downloading any; works although ``HF_HUB_OFFLINE`` is set.

    ``token``: None sends none, whatever the environment holds.

    Raises:
        SourceError: no such repository or revision, no access, or the hub is away.
    """
    where = f"{source.repo}@{source.revision}"
    hub = HfApi(endpoint=endpoint, token=token or False)
    with _online(), explained(where, field):
        info = hub.model_info(source.repo, revision=source.revision, files_metadata=True)
        siblings = info.siblings or ()
        return ModelListing(
            _commit(info.sha),
            sha256={file.rfilename: file.lfs.sha256 if file.lfs else None for file in siblings},
            sizes={file.rfilename: file.lfs.size if file.lfs else file.size for file in siblings},
        )


def size_of_model_file(
    source: HuggingFaceSource, name: str, *, endpoint: str | None, token: str | None, field: str
) -> int | None:
    """Return the bytes of one file of a model, None where the hub doesn't tell.

    Raises:
        SourceError: it is gone, no access, or the hub is away.
    """
    hub = HfApi(endpoint=endpoint, token=token or False)
    with _online(), explained(f"{source.repo}@{source.revision}", field):
        url = hf_hub_url(source.repo, name, revision=source.revision, endpoint=endpoint)
        size: int | None = hub.get_hf_file_metadata(url=url, token=token or False).size
    return size


def download_model_file(
    source: HuggingFaceSource,
    name: str,
    directory: Path,
    *,
    most: int,
    endpoint: str | None,
    token: str | None,
    field: str,
) -> Path:
    """Download one file of a model, at a commit that ``list_model`` gave, and return where it lies below ``directory``.

    Raises:
        SourceError: it is gone, has more than ``most`` bytes, no access, or the hub is away.
    """
    hub = HfApi(endpoint=endpoint, token=token or False)
    with _online(), explained(f"{source.repo}@{source.revision}", field):
        bound = _bound(name, most)
        path = Path(
            hub.hf_hub_download(source.repo, name, revision=source.revision, local_dir=directory, tqdm_class=bound)
        )
        # What comes by another way than HTTP is counted in another thread.
        if path.stat().st_size > most:
            path.unlink()
            raise _more_than(name, most)
        return path


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
    with explained(where, field):
        info = hub.model_info(source.repo, revision=source.revision)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        check_listing(names, where=where, field=f"{field}.repo")
        commit = _commit(info.sha)
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
    with _online(), explained(where, field):
        info = hub.dataset_info(source.repo, revision=source.revision)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        if file is None:
            wanted = files_of_split(names, split, where=where, field=f"{field}.split")
        elif file in names:
            wanted = [file]
        else:
            raise SourceError(SourceProblem.NOT_FOUND, f"{where} has no file {file}", f"{field}.file")
        commit = _commit(info.sha)
        for name in wanted:
            hub.hf_hub_download(source.repo, name, repo_type="dataset", revision=commit, local_dir=directory)
    return DatasetFiles(commit, tuple(wanted))


@contextmanager
def _online() -> Iterator[None]:
    """Let requests through in a process whose environment says ``HF_HUB_OFFLINE``, which is read once, at import."""
    offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _commit(told: object) -> str:
    """Return the commit that a hub tells.

    Raises:
        ValueError: it tells none, so what it gives could be other files tomorrow.
    """
    if not isinstance(told, str) or _COMMIT.fullmatch(told) is None:
        raise ValueError(f"it tells no commit, but {told!r}")
    return told


def _bound(name: str, most: int) -> type[tqdm]:
    """Return a progress bar that ends a download over HTTP of more than ``most`` bytes before they are written.

    It is all that the client tells of what arrives; it writes whatever comes. Over xet it prints what is raised here
    and goes on, so the size is looked at afterwards, too.
    """

    class Bound(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *arguments: Any, initial: int = 0, **named: Any) -> None:
            self._arrived: float = initial
            super().__init__(*arguments, initial=initial, **named)

        def update(self, n: float | None = 1) -> bool | None:
            self._arrived += n or 0
            if self._arrived > most:
                raise _more_than(name, most)
            shown: bool | None = super().update(n)
            return shown

        def update_transfer(self, *_: object) -> None:
            """Of xet's bytes on the network: there may be more of them than the file has."""

    return Bound


def _more_than(name: str, most: int) -> MoreThanToldError:
    return MoreThanToldError(f"{name} has more than the {most} bytes that the hub tells of it, or an adapter may have")
