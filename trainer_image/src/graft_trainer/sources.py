"""Brings the dataset's file to local disk, wherever it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graft_registry.config import RegistryConfig
from graft_registry.errors import Forbidden, NotFound
from graft_registry.store import ObjectStore
from graft_trainer.config import DataSource, FileSource, S3Source
from graft_trainer.outcome import BadDatasetError


@dataclass(frozen=True, slots=True)
class Fetched:
    """A local file and the name under which its user knows it."""

    path: Path
    uri: str


class DataFetcher:
    """Fetches files into ``folder``; objects come from the registry's endpoint, from any of its buckets."""

    def __init__(self, registry: RegistryConfig, folder: Path) -> None:
        self._registry = registry
        self._folder = folder

    def fetch(self, source: DataSource, *, field: str) -> Fetched:
        """Return the source's file, downloading it where it is remote.

        Raises BadDatasetError, naming ``field``, where it does not exist or may not be read.
        """
        if source.s3 is not None:
            return self._fetch_object(source.s3, field)
        assert source.file is not None
        return _mounted_file(source.file, field)

    def _fetch_object(self, source: S3Source, field: str) -> Fetched:
        config, key = self._registry.for_uri(source.uri)
        try:
            content = ObjectStore(config).get(key)
        except NotFound as error:
            raise BadDatasetError(
                f"{source.uri} does not exist; check bucket and key", field=f"{field}.s3.uri"
            ) from error
        except Forbidden as error:
            raise BadDatasetError(
                f"{source.uri} may not be read ({error}); allow the run's credentials to get it",
                field=f"{field}.s3.uri",
            ) from error
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{field}.jsonl"
        path.write_bytes(content)
        return Fetched(path, source.uri)


def _mounted_file(source: FileSource, field: str) -> Fetched:
    if not source.path.is_file():
        raise BadDatasetError(f"{source.uri} does not exist (it would be mounted at {source.path})", field=field)
    return Fetched(source.path, source.uri)
