"""Imports a base: downloads its source into a directory, identifies it, and publishes it to the registry.

Only what a server and a trainer read is downloaded (see ``source_files``); pickles are never downloaded.
"""

import itertools
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from graft_registry.bases import BaseRegistry
from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.documents import (
    BaseLocation,
    BaseManifest,
    BaseSource,
    Fingerprint,
    S3Source,
    StoredFile,
    timestamp,
)
from graft_registry.documents.base import base_digest
from graft_registry.documents.model import Digest, Document
from graft_registry.errors import Corrupt, InvalidModel, NotFound
from graft_registry.models.chat_templates import TEMPLATE_PLACES, former_chat_template_digest
from graft_registry.models.drift import compare
from graft_registry.models.fingerprint import CONFIG, check_configuration, identify
from graft_registry.s3.store import ObjectStore
from graft_registry.sources.hub import download_snapshot
from graft_registry.sources.mounted_model import (
    CLAIM_FIELD,
    IMAGE_FIELD,
    blaming_the_volume,
    check_claim,
    check_image,
)
from graft_registry.sources.scratch_disk import naming_a_full_disk
from graft_registry.sources.source_access import SourceAccess, blaming_the_source
from graft_registry.sources.source_files import SourceError, SourceProblem, check_listing, wanted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalSource:
    """The files of a source on this machine. ``revision`` is null where the content itself is the revision."""

    directory: Path
    revision: str | None
    location: BaseLocation


@dataclass(frozen=True, slots=True)
class PreviousBase:
    """The base that the new one takes the place of. ``mount``: its directory, where its files are in a claim here."""

    digest: str
    mount: Path | None = None


class BaseImport(Document):
    """What an import is asked for, as ``GRAFT_BASE_IMPORT`` holds it: the source of the BaseModel ``name``."""

    namespace: str
    name: str
    source: BaseSource
    path: Path = Path("/claim")
    """Where the model's directory is mounted, for the source of a claim or an image."""
    previous_digest: Digest | None = None
    """The base that the new one takes the place of, to measure the drift from."""
    previous_path: Path | None = None
    """Its directory, where its files are in the same claim."""

    @property
    def previous(self) -> PreviousBase | None:
        """The base before, if there is one."""
        return PreviousBase(self.previous_digest, self.previous_path) if self.previous_digest else None


def import_base(store: ObjectStore, request: BaseImport, access: SourceAccess, *, workspace: Path) -> BaseManifest:
    """Resolve a source, once and for all, to a published base. Does nothing if that was done before.

    Args:
        store: of the registry.
        request: what to import.
        access: endpoints and credentials for the source.
        workspace: an empty directory with room for the model, where it is not mounted, and one more weight file.

    Raises:
        SourceError: the source is the problem.
        RegistryError: the registry is.
    """
    registry = BaseRegistry(store, request.namespace, request.name)
    known = registry.resolved(request.source)
    if known is not None:
        log.info("base known namespace=%s base=%s digest=%s", request.namespace, request.name, known.digest)
        return known
    model = workspace / "model"
    model.mkdir()
    with naming_a_full_disk("spec.importPod.resources"):
        local = bring(request.source, access, store.config, mount=request.path, workspace=model)
        with _blaming_its_volume(request.source):
            manifest = _as_published_before(registry, _manifest(local, request), local.directory)
            published = registry.publish(manifest, local.directory)
    if request.previous is not None:
        _record_drift(registry, request.previous, published, local.directory, workspace)
    # Last: whoever finds the source resolved finds the drift, too.
    return registry.read(registry.record_source(request.source, published.digest))


def _blaming_its_volume(source: BaseSource) -> AbstractContextManager[None]:
    """Say of a file that can't be read that it is the volume's, where it is on one."""
    if source.persistent_volume_claim is not None:
        return blaming_the_volume("the claim", CLAIM_FIELD)
    if source.image is not None:
        return blaming_the_volume(f"image {source.image.reference}", IMAGE_FIELD)
    return nullcontext()


def _as_published_before(registry: BaseRegistry, manifest: BaseManifest, directory: Path) -> BaseManifest:
    """Keep the identity that an earlier release gave to the very same files.

    Its fingerprints said nothing of ``generation_config.json`` and of much of ``config.json``, or of all chat templates
    but one. Where those files are what they were, the base is what it was; anything else would have all its adapters
    trained again for nothing.
    """
    for fingerprint in _former_fingerprints(manifest.fingerprint, former_chat_template_digest(directory)):
        digest = base_digest(manifest.weights_digest, fingerprint)
        try:
            before = registry.read(digest)
        except NotFound:
            continue
        if _same_revision(before, manifest) or not _differing_files(before, manifest) & _unsaid(before, manifest):
            return manifest.model_copy(update={"digest": digest, "fingerprint": fingerprint})
    return manifest


def _former_fingerprints(now: Fingerprint, former_template: str | None) -> Iterator[Fingerprint]:
    """Yield what the rules of earlier releases give for the same files. Pure."""
    rules = itertools.product((None, now.behaviour_digest), (now.chat_template_digest, former_template))
    for behaviour, template in dict.fromkeys(rules):
        fingerprint = now.model_copy(update={"behaviour_digest": behaviour, "chat_template_digest": template})
        if fingerprint != now:
            yield fingerprint


def _same_revision(before: BaseManifest, now: BaseManifest) -> bool:
    """Return whether both are of one commit, whose files are the same, including those that were not brought then."""
    return now.source.hugging_face is not None and before.revision == now.revision


def _unsaid(before: BaseManifest, now: BaseManifest) -> set[str]:
    """Return the files that decide what only the newer of two fingerprints tells. Pure."""
    files: set[str] = set()
    if before.fingerprint.behaviour_digest != now.fingerprint.behaviour_digest:
        files |= {"config.json", "generation_config.json"}
    if before.fingerprint.chat_template_digest != now.fingerprint.chat_template_digest:
        files |= TEMPLATE_PLACES
    return files


def _differing_files(before: BaseManifest, now: BaseManifest) -> set[str]:
    """Return the paths that have other content in one than in the other, or are in one alone. Pure."""
    return {
        path
        for path, _ in {(file.path, file.sha256) for file in before.files}
        ^ {(file.path, file.sha256) for file in now.files}
    }


def _record_drift(
    registry: BaseRegistry, previous: PreviousBase, current: BaseManifest, directory: Path, workspace: Path
) -> None:
    """Measure the drift. Where that can't be done adapters are trained from nothing, so the import goes on."""
    try:
        before = registry.read(previous.digest)
    except (NotFound, Corrupt) as error:
        log.warning("drift not measured previous=%s: %s", previous.digest, error)
        return
    shards = workspace / "previous"
    drift = compare(registry, before, current, directory, previous_mount=previous.mount, workspace=shards)
    if drift is not None:
        registry.record_drift(drift)


def _manifest(local: LocalSource, request: BaseImport) -> BaseManifest:
    try:
        identity = identify(local.directory)
    except InvalidModel as error:
        raise SourceError(SourceProblem.INVALID, str(error)) from error
    return BaseManifest(
        namespace=request.namespace,
        name=request.name,
        digest=identity.digest,
        source=request.source,
        revision=local.revision or _content_revision(identity.files),
        weights_digest=identity.weights_digest,
        fingerprint=identity.fingerprint,
        linear_modules=identity.linear_modules,
        parameters=identity.parameters,
        location=local.location,
        files=identity.files,
        created_time=timestamp(),
    )


def bring(
    source: BaseSource, access: SourceAccess, registry: RegistryConfig, *, mount: Path, workspace: Path
) -> LocalSource:
    """Make the files of a source available locally.

    Raises:
        SourceError: the source can't be read, or has no weights that may be loaded.
    """
    in_registry = BaseLocation(registry=True)
    if source.hugging_face is not None:
        commit = download_snapshot(source.hugging_face, workspace, endpoint=access.hub_endpoint, token=access.hub_token)
        return LocalSource(workspace, commit, in_registry)
    if source.s3 is not None:
        _download_objects(source.s3, access, registry, workspace)
        return LocalSource(workspace, None, in_registry)
    if source.image is not None:
        check_image(mount, source.image)
        return LocalSource(mount, source.image.digest, in_registry)
    claim = source.persistent_volume_claim
    if claim is None:
        raise ValueError("a base's source is one of huggingFace, s3, persistentVolumeClaim and image")
    check_claim(mount, claim)
    return LocalSource(mount, None, BaseLocation(persistent_volume_claim=claim))


def _download_objects(source: S3Source, access: SourceAccess, registry: RegistryConfig, directory: Path) -> None:
    field = "spec.source.s3.uri"
    config, prefix = access.s3(registry).for_uri(source.uri)
    store = ObjectStore(config, access.s3_credentials)
    folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    with blaming_the_source(field):
        names = [entry.key.removeprefix(folder) for entry in store.list(folder)]
        check_listing(names, where=source.uri, field=field)
        # The configuration first: what it rules out is said before gigabytes of weights are brought.
        for name in sorted(filter(wanted, names), key=lambda name: name != CONFIG):
            store.download_file(folder + name, directory / name, sha256=None)
            if name == CONFIG:
                _check_configuration(directory)


def _check_configuration(directory: Path) -> None:
    try:
        check_configuration(directory)
    except InvalidModel as error:
        raise SourceError(SourceProblem.INVALID, str(error)) from error


def _content_revision(files: tuple[StoredFile, ...]) -> str:
    """Name the content of a source that has no revisions of its own."""
    return digest_of([[file.path, file.sha256] for file in files])
