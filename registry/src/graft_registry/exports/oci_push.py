"""Pushes a version to an OCI registry. A tag that means something else is only moved when that is asked for."""

import logging
from collections.abc import Mapping

from graft_registry.errors import InvalidArtifact, VersionConflict
from graft_registry.exports.lora_artifact import artifact_of
from graft_registry.exports.opened_version import OpenedVersion
from graft_registry.oci.manifests import OCI_MANIFEST
from graft_registry.oci.references import Reference
from graft_registry.oci.repository import Repository

log = logging.getLogger(__name__)


def push(version: OpenedVersion, name: str, environ: Mapping[str, str], *, overwrite: bool) -> str:
    """Push a version and return ``oci://registry/repository:tag@digest``; what is there already is not sent again.

    The tag comes last, so whoever finds it finds everything. Registries know no conditional write: two who push the
    same tag at the same moment both believe that it is theirs.

    Raises:
        VersionConflict: the tag stands for something else.
        RegistryError: as the registry answers.
    """
    reference = Reference.parse(name)
    if reference.tag is None or reference.digest is not None:
        raise InvalidArtifact(f"{reference}: name a tag to push to, not a digest")
    repository = Repository(reference, environ, "pull,push")
    artifact = artifact_of(version.manifest, version.manifest_bytes)
    before = repository.digest(reference.tag)
    if before not in (None, artifact.digest) and not overwrite:
        raise VersionConflict(
            f"{reference} is {before} already, and {version.title} would be {artifact.digest}; "
            "choose another tag, or move this one with --overwrite"
        )
    if before != artifact.digest:
        for file in version.files:
            with (version.directory / file.path).open("rb") as body:
                repository.upload(f"sha256:{file.sha256}", file.size, body)
        repository.upload(version.stored.digest, len(version.manifest_bytes), version.manifest_bytes)
        repository.put_manifest(reference.tag, artifact.manifest, OCI_MANIFEST)
    log.info("pushed %s to %s digest=%s", version.title, reference, artifact.digest)
    return f"{reference}@{artifact.digest}"
