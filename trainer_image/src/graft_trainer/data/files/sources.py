"""Brings the files of a dataset to local disk, wherever they are kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graft_registry.config import RegistryConfig
from graft_registry.digests import DIGEST_PREFIX, digest_of, file_sha256
from graft_registry.documents import HuggingFaceSource
from graft_registry.errors import Forbidden, NoSuchBucket, NotFound, Unavailable
from graft_registry.s3.store import ObjectStore
from graft_registry.sources.source_files import SourceError, SourceProblem
from graft_trainer.data.files.record_files import DataFile
from graft_trainer.dataset_config import DataSource, FileSource, HubSource, S3Source
from graft_trainer.outcome import BadDatasetError

LOST_AND_FOUND: Final = "lost+found"
"""A folder of the file system's own, which only root may read."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Local files, in the order of their rows, and the name under which their user knows them all.

    ``digest``: of one file, that of its bytes; of a folder, that of the canonical ``[[path, sha256], …]``.
    """

    uri: str
    files: tuple[DataFile, ...]
    digest: str


class DataFetcher:
    """Fetches files into ``folder``; objects come from the registry's endpoint, from any of its buckets."""

    def __init__(self, registry: RegistryConfig, folder: Path) -> None:
        self._registry = registry
        self.folder = folder

    def fetch(self, source: DataSource, *, field: str) -> Fetched:
        """Return the source's files, downloading them where they are remote.

        Raises BadDatasetError, naming ``field``, where they do not exist or may not be read.
        """
        if source.s3 is not None:
            return self._fetch_objects(source.s3, field)
        if source.hugging_face is not None:
            return fetch_from_hub(source.hugging_face, self.folder / field, os.environ, field=f"{field}.huggingFace")
        assert source.file is not None
        try:
            return _mounted(source.file, field)
        except PermissionError as error:
            raise BadDatasetError(
                f"{source.file.uri} may not be read by user {os.getuid()} ({error}); make it readable for others",
                field=field,
            ) from error

    def _fetch_objects(self, source: S3Source, field: str) -> Fetched:
        config, key = self._registry.for_uri(source.uri)
        try:
            return self._download(ObjectStore(config), key, source.uri, self.folder / field, f"{field}.s3.uri")
        except (NotFound, NoSuchBucket) as error:
            raise BadDatasetError(
                f"{source.uri} does not exist; check bucket and key", field=f"{field}.s3.uri"
            ) from error
        except Forbidden as error:
            raise BadDatasetError(
                f"{source.uri} may not be read ({error}); allow the run's credentials to get it",
                field=f"{field}.s3.uri",
            ) from error

    def _download(self, store: ObjectStore, key: str, uri: str, folder: Path, field: str) -> Fetched:
        if key and not key.endswith("/"):
            store.download_file(key, folder / "rows", sha256=None)
            return _one_file(uri, folder / "rows")
        names = rows_files(entry.key.removeprefix(key) for entry in store.list(key))
        if not names:
            raise BadDatasetError(f"there are no files below {uri}; check bucket and prefix", field=field)
        # Keys are no paths: "a" and "a/b" may both be objects.
        paths = [folder / str(number) for number in range(len(names))]
        hashes = [store.download_file(key + name, path, sha256=None) for name, path in zip(names, paths, strict=True)]
        return _folder(uri, names, paths, hashes)


def fetch_from_hub(source: HubSource, folder: Path, environ: Mapping[str, str], *, field: str) -> Fetched:
    """Download from a hub: the one that the spec names, else that of ``HF_ENDPOINT``, else the public one.

    ``HF_TOKEN`` is only sent where the environment, which it comes from, names the hub: whoever may write a spec could
    otherwise have the token sent to themselves.
    """
    # Takes a while to import, and most runs do without.
    from graft_registry.sources.hub import download_dataset

    try:
        found = download_dataset(
            HuggingFaceSource(repo=source.repo, revision=source.revision),
            folder,
            file=source.file,
            split=source.split or "train",
            endpoint=source.endpoint or environ.get("HF_ENDPOINT"),
            token=None if source.endpoint else environ.get("HF_TOKEN"),
            field=field,
        )
    except SourceError as error:
        if error.reason is SourceProblem.UNAVAILABLE:
            raise Unavailable(str(error)) from error
        raise BadDatasetError(f"{error}; check {error.field}", field=error.field) from error
    uri = f"hf://datasets/{source.repo}@{found.commit}/"
    paths = [folder / name for name in found.names]
    if source.file is not None:
        return _one_file(uri + source.file, paths[0])
    return _folder(uri, found.names, paths, [file_sha256(path) for path in paths])


def rows_files(names: Iterable[str]) -> list[str]:
    """Return the names that are files of rows, in order: no folders, nothing hidden, no marks such as
    ``_SUCCESS``, no descriptions such as ``README.md``."""
    return sorted(
        name
        for name in names
        if not name.endswith(("/", ".md")) and not any(part.startswith((".", "_")) for part in name.split("/"))
    )


def _mounted(source: FileSource, field: str) -> Fetched:
    if source.path.is_file():
        return _one_file(source.uri, source.path)
    if not source.path.is_dir():
        raise BadDatasetError(f"{source.uri} does not exist (it would be mounted at {source.path})", field=field)
    names = rows_files(path.relative_to(source.path).as_posix() for path in _entries(source.path))
    if not names:
        raise BadDatasetError(f"there are no files below {source.uri}", field=field)
    paths = [source.path / name for name in names]
    for name, path in zip(names, paths, strict=True):
        if not path.is_file():
            kind = "to a folder, which is not followed" if path.is_dir() else "that leads nowhere"
            raise BadDatasetError(
                f"{source.uri.rstrip('/')}/{name} is a link {kind}; name the folder itself as path, or replace the "
                "link by what it is for",
                field=field,
            )
    return _folder(f"{source.uri.rstrip('/')}/", names, paths, [file_sha256(path) for path in paths])


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, and links, whatever they lead to. Raises PermissionError for a folder within."""
    for root, folders, files in os.walk(folder, onerror=_raise):
        for name in files:
            if (path := Path(root, name)).is_file() or path.is_symlink():
                yield path
        yield from (path for name in folders if (path := Path(root, name)).is_symlink())
        folders[:] = [name for name in folders if not name.startswith((".", "_")) and name != LOST_AND_FOUND]


def _raise(error: OSError) -> None:
    raise error


def _one_file(uri: str, path: Path) -> Fetched:
    return Fetched(uri, (DataFile(path, uri),), DIGEST_PREFIX + file_sha256(path))


def _folder(uri: str, names: Sequence[str], paths: Sequence[Path], hashes: Sequence[str]) -> Fetched:
    files = tuple(DataFile(path, uri + name) for name, path in zip(names, paths, strict=True))
    return Fetched(uri, files, digest_of([[name, sha256] for name, sha256 in zip(names, hashes, strict=True)]))
