"""Brings an adapter that was trained elsewhere from where it is kept, or finds out what is there."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of, file_sha256
from graft_registry.documents import AdapterRepository, AdapterSource, HuggingFaceSource, S3Source
from graft_registry.errors import Corrupt
from graft_registry.s3.store import ObjectStore
from graft_registry.sources.adapter_files import MOST_FILES, few_enough, files_of_adapter
from graft_registry.sources.adapter_sizes import byte_limit, oversize
from graft_registry.sources.mounted_adapter import MountedAdapter, mounted_adapter
from graft_registry.sources.oci_artifact import pull, resolve
from graft_registry.sources.scratch_disk import naming_a_full_disk
from graft_registry.sources.source_access import SourceAccess, blaming_the_source
from graft_registry.sources.source_files import SourceError, SourceProblem


@dataclass(frozen=True, slots=True)
class AdapterContent:
    """What a source holds. ``revision`` is null where the content itself is the revision."""

    files: tuple[str, ...]
    digest: str
    revision: str | None


class _Origin(Protocol):
    """A place that holds the files of an adapter. ``field`` is the field of the spec that names it."""

    @property
    def where(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def revision(self) -> str | None: ...

    def names(self) -> list[str]: ...

    def size(self, name: str) -> int | None:
        """Return a file's bytes, None where its place does not tell them. No more are ever brought than it tells."""

    def sha256(self, name: str) -> str | None:
        """Return a file's hash where it can be had without a copy of the file."""

    def bring(self, name: str, folder: Path) -> Path:
        """Put a file below the folder and return where it is."""


def resolve_adapter(
    source: AdapterSource, access: SourceAccess, registry: RegistryConfig, *, workspace: Path
) -> AdapterContent:
    """Find out the digest and revision of a source; brings only what can't be hashed where it is.

    Raises:
        SourceError: the source can't be read, or has no adapter.
    """
    with _origin(source, access, registry, workspace) as origin:
        return _content(origin, lambda name: origin.sha256(name) or file_sha256(origin.bring(name, workspace)))


def is_at(source: AdapterSource, revision: str) -> bool:
    """Return whether a source is an artifact whose reference still names this digest; brings nothing.

    Raises:
        SourceError: the source can't be read.
    """
    if source.oci is None:
        return False
    with _as_adapter_problem(), _reading_an_artifact("spec.source.oci.image"):
        return resolve(source.oci.image) == revision


def fetch_adapter(
    source: AdapterSource, access: SourceAccess, registry: RegistryConfig, folder: Path
) -> AdapterContent:
    """Make ``folder`` the files of an adapter: its configuration and its weights, no others.

    Raises:
        SourceError: the source can't be read, or has no adapter.
    """
    incoming = folder.parent / f"{folder.name}.incoming"
    for path in (folder, incoming):
        # A container that is started again in its pod finds what the one before has left.
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    with _origin(source, access, registry, incoming) as origin:

        def brought(name: str) -> str:
            return file_sha256(origin.bring(name, incoming).rename(folder / name))

        return _content(origin, brought)


def _content(origin: _Origin, sha256: Callable[[str], str]) -> AdapterContent:
    files = files_of_adapter(frozenset(origin.names()), where=origin.where, field=origin.field)
    sizes = {name: size for name in files if (size := origin.size(name)) is not None}
    if (wrong := oversize(sizes)) is not None:
        raise SourceError(SourceProblem.INVALID, f"{origin.where}: {wrong}", origin.field)
    hashes = sorted([name, sha256(name)] for name in files)
    return AdapterContent(files, digest_of(hashes), origin.revision)


@contextmanager
def _origin(
    source: AdapterSource, access: SourceAccess, registry: RegistryConfig, workspace: Path
) -> Iterator[_Origin]:
    with _as_adapter_problem(), naming_a_full_disk():
        if source.s3 is not None:
            field = "spec.source.s3.uri"
            with blaming_the_source(field):
                yield _Bucket(source.s3, access, registry, field)
        elif source.hugging_face is not None:
            yield _Repository(source.hugging_face, access)
        elif source.directory is not None:
            with mounted_adapter(source.directory) as adapter:
                yield adapter
        elif source.oci is not None:
            yield _pulled(source.oci.image, workspace / "artifact", "spec.source.oci.image")


def _pulled(image: str, folder: Path, field: str) -> MountedAdapter:
    """Download an artifact: what it holds can't be told from less than all of it."""
    with _reading_an_artifact(field):
        digest = pull(image, folder)
    return MountedAdapter(folder, image, field, folder, revision=digest)


@contextmanager
def _reading_an_artifact(field: str) -> Iterator[None]:
    try:
        with blaming_the_source(field):
            yield
    except SourceError as error:
        if error.reason is not SourceProblem.FORBIDDEN:
            raise
        raise SourceError(error.reason, str(error), "spec.source.oci.pullSecretRef") from error  # another login helps


@contextmanager
def _as_adapter_problem() -> Iterator[None]:
    """Report a source that can't be reached or read under reasons of its own, apart from those of the registry."""
    apart = {
        SourceProblem.UNAVAILABLE: SourceProblem.ADAPTER_UNAVAILABLE,
        SourceProblem.FORBIDDEN: SourceProblem.ADAPTER_FORBIDDEN,
    }
    try:
        yield
    except SourceError as error:
        if error.reason not in apart:
            raise
        raise SourceError(apart[error.reason], str(error), error.field) from error


class _Bucket:
    """Objects below a prefix."""

    revision: str | None = None

    def __init__(self, source: S3Source, access: SourceAccess, registry: RegistryConfig, field: str) -> None:
        config, key = access.s3(registry).for_uri(source.uri)
        self.where, self.field = source.uri, field
        self._store = ObjectStore(config, access.s3_credentials)
        self._folder = f"{key.strip('/')}/" if key.strip("/") else ""
        self._sizes: dict[str, int] = {}

    def names(self) -> list[str]:
        found = itertools.islice(self._store.list(self._folder), MOST_FILES + 1)
        self._sizes = {entry.key.removeprefix(self._folder): entry.size for entry in found}
        return few_enough(list(self._sizes), where=self.where, field=self.field)

    def size(self, name: str) -> int:
        return self._sizes[name]

    def sha256(self, name: str) -> str | None:
        del name  # A store tells a hash of its own, which it need not have held the content to.
        return None

    def bring(self, name: str, folder: Path) -> Path:
        path, listed = folder / name, self._sizes[name]
        try:
            self._store.download_file(self._folder + name, path, sha256=None, size=listed)
        except Corrupt as error:
            message = f"{self.where} is being written to: {name} has grown since it was listed ({error})"
            raise SourceError(SourceProblem.UNAVAILABLE, message, self.field) from error
        if (size := path.stat().st_size) != listed:
            message = f"{self.where} is being written to: {name} has {size} bytes, and was listed with {listed}"
            raise SourceError(SourceProblem.UNAVAILABLE, message, self.field)
        return path


class _Repository:
    """Files of a repository on a hub, or of a folder in it."""

    def __init__(self, source: AdapterRepository, access: SourceAccess) -> None:
        # Takes a while to import, and most sources do without.
        from graft_registry.sources import hub

        self._hub = hub
        self.field = "spec.source.huggingFace"
        self._endpoint = source.endpoint or access.hub_endpoint
        # Whoever may write a spec could otherwise have the token sent to themselves.
        self._token = None if source.endpoint else access.hub_token
        at = HuggingFaceSource(repo=source.repo, revision=source.revision)
        listing = hub.list_model(at, endpoint=self._endpoint, token=self._token, field=self.field)
        self._at = HuggingFaceSource(repo=source.repo, revision=listing.commit)
        path = (source.path or "").strip("/")
        self._folder = f"{path}/" if path else ""
        self.where = f"{source.repo}@{source.revision}" + (f"/{path}" if path else "")
        self.revision: str | None = listing.commit
        self._sha256 = {
            name.removeprefix(self._folder): sha256
            for name, sha256 in listing.sha256.items()
            if name.startswith(self._folder)
        }
        self._sizes = dict(listing.sizes)

    def names(self) -> list[str]:
        return list(self._sha256)

    def size(self, name: str) -> int | None:
        path = self._folder + name
        if self._sizes[path] is None:
            self._sizes[path] = self._hub.size_of_model_file(
                self._at, path, endpoint=self._endpoint, token=self._token, field=self.field
            )
        return self._sizes[path]

    def sha256(self, name: str) -> str | None:
        return self._sha256[name]

    def bring(self, name: str, folder: Path) -> Path:
        path = self._folder + name
        size, told = self._sizes[path], self._sha256[name]
        brought = self._hub.download_model_file(
            self._at,
            path,
            folder,
            most=byte_limit(name) if size is None else size,
            endpoint=self._endpoint,
            token=self._token,
            field=self.field,
        )
        # By the hash that it tells looks know the content again, without a copy.
        if told is not None and (actual := file_sha256(brought)) != told:
            message = f"{self.where}: the hub tells sha256 {told} of {name}, and gives {actual}; upload the file again"
            raise SourceError(SourceProblem.INVALID, message, self.field)
        return brought
