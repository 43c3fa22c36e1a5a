"""Provides the files of a base in a pod, from the registry's blobs or from the claim that holds them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from graft_registry.bases import BaseRegistry
from graft_registry.documents import BaseManifest, StoredFile
from graft_registry.s3.store import ObjectStore
from graft_registry.verification import verify_files

MANIFEST_FILE = "base.json"

WEIGHTS: Final = ".safetensors"
"""End of the names of files with weights: a base has no others."""


def provide_base(
    store: ObjectStore,
    *,
    namespace: str,
    name: str,
    digest: str,
    mount: Path,
    destination: Path,
    manifest_directory: Path,
    weights: bool = True,
) -> BaseManifest:
    """Make ``destination`` the verified files of a base, and write its manifest as ``base.json``.

    Files in a claim are verified where they are, and linked: ``destination`` may be a small scratch volume beside
    the claim, or the claim's directory itself.

    Args:
        namespace, name: of the BaseModel.
        digest: the base digest.
        mount: the model's directory in its claim, where the files are in one.
        destination: the directory that engines and trainers read.
        manifest_directory: for ``base.json``, which is written last: where it is, everything has verified.
        weights: whether they are needed; a tokenizer does without, and they are nearly all of a base.

    Raises:
        NotFound: there is no such base.
        Corrupt: a file is missing or isn't what the manifest says.
    """
    registry = BaseRegistry(store, namespace, name)
    manifest = registry.read(digest)
    destination.mkdir(parents=True, exist_ok=True)
    files = [file for file in manifest.files if weights or not file.path.endswith(WEIGHTS)]
    if manifest.location.registry:
        registry.fetch(manifest, destination, files)
    else:
        verify_files(files, mount)
        _link(files, mount, destination)
    manifest_directory.mkdir(parents=True, exist_ok=True)
    (manifest_directory / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    return manifest


def _link(files: Iterable[StoredFile], directory: Path, destination: Path) -> None:
    if directory.resolve() == destination.resolve():
        return
    for file in files:
        link = destination / file.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to((directory / file.path).resolve())
