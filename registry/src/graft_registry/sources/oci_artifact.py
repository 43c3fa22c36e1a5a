"""LoRA adapters in OCI registries, as people, ORAS, modctl, KitOps and ``docker build`` push them.

Made on urllib3, the distribution specification and the standard library's tarfile. ORAS' client for Python doesn't
check what it downloads against its digest, knows no index, and unpacks archives (docs/adr/0022).

Logins are those of docker: ``config.json`` (or ``.dockerconfigjson``, as a Secret of type
``kubernetes.io/dockerconfigjson`` is mounted) in the folder that ``DOCKER_CONFIG`` names; see ``docker_config``.
``GRAFT_OCI_PLAIN_HTTP`` lists hosts, with ports, that have no TLS; those of this machine need none.
"""

import os
import posixpath
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from graft_registry.adapters.publishable import ADAPTER_CONFIG
from graft_registry.errors import InvalidArtifact, NotFound
from graft_registry.oci import archives
from graft_registry.oci.adapter_files import Content, Place, chosen, laid_over
from graft_registry.oci.archives import MOST_MEMBERS, copy_members, is_archive, members
from graft_registry.oci.layers import (
    LARGEST_ARTIFACT_BYTES,
    check_kind,
    is_settings,
    layer_name,
    layers_to_bring,
    settings_in_config,
)
from graft_registry.oci.manifests import Descriptor, Index, Manifest, meant_entry, parse_manifest
from graft_registry.oci.references import Reference
from graft_registry.oci.repository import Repository, StoredManifest
from graft_registry.sources.adapter_sizes import LARGEST_CONFIG_BYTES, oversize

_DEEPEST_INDEX = 3


def resolve(reference: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the digest of what a reference names now, an index or a manifest. Nothing else is downloaded.

    Raises:
        NotFound: there is no such artifact.
        Forbidden: the registry wants a login, or another one.
        Unavailable: the registry is away.
        InvalidArtifact: that is no reference, or no registry.
    """
    parsed = Reference.parse(reference)
    digest = Repository(parsed, environ).digest(parsed.wanted)
    if digest is None:
        raise NotFound(f"{parsed}: there is no such tag or digest; look for a typing error, or push it")
    return digest


def pull(reference: str, folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Bring the adapter that an artifact holds into ``folder``, and return the digest of what the reference names.

    The folder then holds ``adapter_config.json`` and ``adapter_model.safetensors``, or the parts of weights in several
    files, and no other file of the artifact; their sizes are within those of ``adapter_sizes``. Nothing in them is
    looked at.

    Args:
        reference: such as ``oci://registry.example.com/team/adapter:v1``, with or without the scheme.
        folder: is made if it isn't there.
        environ: holds logins and settings.

    Raises:
        NotFound: there is no such artifact.
        Forbidden: the registry wants a login, or another one.
        Unavailable: the registry is away.
        Corrupt: a blob has not the digest that it is called by.
        Unsafe: a path or link leads out of the artifact.
        InvalidArtifact: that is no reference, or the artifact holds no adapter; the message says what it holds.
    """
    parsed = Reference.parse(reference)
    repository = Repository(parsed, environ)
    named = repository.manifest(parsed.wanted)
    manifest = _manifest(repository, named, str(parsed))
    check_kind(manifest, where=str(parsed))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as staging:
        _bring(repository, manifest, Path(staging), folder, where=str(parsed))
    return named.digest


def _manifest(repository: Repository, named: StoredManifest, where: str) -> Manifest:
    """Follow an index to the manifest that is meant."""
    for _ in range(_DEEPEST_INDEX):
        found = parse_manifest(named.document, where=where)
        if not isinstance(found, Index):
            return found
        named = repository.manifest(meant_entry(found, where=where).digest)
    raise InvalidArtifact(f"{where} is an index of indexes of indexes; name the artifact by its digest")


def _bring(repository: Repository, manifest: Manifest, staging: Path, folder: Path, *, where: str) -> None:
    # The configuration first, so that a layer of the same name wins.
    layers = [*_settings(repository, manifest, staging), *layers_to_bring(manifest, where=where)]
    files = [staging / f"layer-{number}" for number in range(len(layers))]
    _check_named_settings(layers, where)
    for layer, file in zip(layers, files, strict=True):
        repository.download(layer, file)
    left_out = [name for layer in manifest.layers if (name := layer_name(layer)) is not None]
    found = chosen(laid_over(_contents(layers, files)), left_out, where=where)
    _check_sizes(found, layers, where)
    ready = _extracted(found, files, staging)
    moved: dict[Path, Path] = {}
    for name in ready:
        target, before = folder / name, moved.setdefault(ready[name], folder / name)
        # Links make two names of one content.
        if before == target:
            ready[name].replace(target)
        else:
            shutil.copyfile(before, target)


def _settings(repository: Repository, manifest: Manifest, staging: Path) -> list[Descriptor]:
    """Return the artifact's configuration where that is the adapter's, and so no layer."""
    config, file = settings_in_config(manifest), staging / "config"
    if config is None:
        return []
    repository.download(config, file)
    return [config] if is_settings(file.read_bytes()) else []


def _check_named_settings(layers: Sequence[Descriptor], where: str) -> None:
    """Refuse what is called a configuration, and can't be one, even in an archive, before it is downloaded."""
    for layer in layers:
        if posixpath.basename(layer_name(layer) or "") == ADAPTER_CONFIG and layer.size > 2 * LARGEST_CONFIG_BYTES:
            raise InvalidArtifact(f"{where}: {oversize({ADAPTER_CONFIG: layer.size})}")


def _check_sizes(found: Mapping[str, Place], layers: Sequence[Descriptor], where: str) -> None:
    """Hold the adapter's files, and all that is written of the artifact, to their bounds."""
    wrong = oversize({name: layers[at.layer].size if at.position is None else at.size for name, at in found.items()})
    if wrong is not None:
        raise InvalidArtifact(f"{where}: {wrong}")
    written = sum(layer.size for layer in layers) + sum(place.size for place in found.values())
    if written > LARGEST_ARTIFACT_BYTES:
        raise InvalidArtifact(
            f"{where}: the layers, and the adapter in them, take {written} bytes, at most {LARGEST_ARTIFACT_BYTES} are "
            "written; push the adapter's files alone"
        )


def _contents(layers: Sequence[Descriptor], files: Sequence[Path]) -> list[Content]:
    """Look into the layers. What is neither an archive nor has a name can't be any file of an adapter."""
    contents, count, unpacked = [], 0, 0
    for number, (layer, file) in enumerate(zip(layers, files, strict=True)):
        name = layer_name(layer)
        if is_archive(file):
            held = []
            for member in members(file):
                held.append(member)
                # What a member holds is only unpacked when the next one is asked for.
                if unpacked + member.end > archives.UNPACKED_BYTES:
                    raise InvalidArtifact(f"all layers unpack to more than {archives.UNPACKED_BYTES >> 30} GiB")
            unpacked += held[-1].end if held else 0
            count += len(held)
            contents.append(Content(number, members=held))
        elif name is not None:
            contents.append(Content(number, file=name))
        if count > MOST_MEMBERS:
            raise InvalidArtifact(f"more than {MOST_MEMBERS} files; push the adapter's files alone")
    return contents


def _extracted(found: Mapping[str, Place], files: Sequence[Path], staging: Path) -> dict[str, Path]:
    """Return a file for each name: the layer itself, or one out of the archive that it is."""
    ready: dict[str, Path] = {}
    of_archives: defaultdict[int, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, place in found.items():
        if place.position is None:
            ready[name] = files[place.layer]
        else:
            of_archives[place.layer][place.position].append(name)
    for layer, positions in of_archives.items():
        targets = {position: staging / f"member-{layer}-{position}" for position in positions}
        copy_members(files[layer], targets)
        ready |= {name: targets[position] for position, names in positions.items() for name in names}
    return ready
