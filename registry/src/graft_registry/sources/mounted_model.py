"""A base whose files the platform mounts: a directory of a claim, or of an OCI image."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from graft_registry.documents import ImageSource, PersistentVolumeClaimSource
from graft_registry.models.fingerprint import CONFIG
from graft_registry.sources.scratch_disk import is_full
from graft_registry.sources.source_files import (
    TEMPLATE_FOLDER,
    SourceError,
    SourceProblem,
    check_listing,
    files_below,
    leads_out,
    mounted_root,
    volume_away,
    wanted,
)

CLAIM_FIELD: Final = "spec.source.persistentVolumeClaim.path"
IMAGE_FIELD: Final = "spec.source.image.path"
REFERENCE_FIELD: Final = "spec.source.image.reference"
_FOLDERS_TOLD: Final = 3
_MOST_FILES: Final = 100_000
"""Of an image, for a hint; one that holds a whole system has fewer."""


def check_claim(mount: Path, claim: PersistentVolumeClaimSource) -> None:
    """Check that a claim's directory is there, has weights that may be loaded, and no link that leads out of the claim.

    Raises:
        SourceError: it is not there, can't be read, has no weights, or has such a link.
    """
    root = mounted_root(mount, claim.path)
    with blaming_the_volume("the claim", CLAIM_FIELD):
        if not mount.is_dir():
            raise SourceError(SourceProblem.NOT_FOUND, f"the claim has no directory {claim}", CLAIM_FIELD)
        _check_links(mount, root, holder=f"claim {claim.claim_name}", field=CLAIM_FIELD)
        _check_files(mount, where="the claim's directory", field=CLAIM_FIELD)


def check_image(mount: Path, image: ImageSource) -> None:
    """Check the same of an image's directory, and that no link leads out of the image.

    Raises:
        SourceError: it is not there, has no weights, or has a link to what the image does not hold.
    """
    root = mounted_root(mount, image.path)
    with blaming_the_volume(f"image {image.reference}", IMAGE_FIELD):
        if not root.is_dir() or not any(root.iterdir()):
            raise SourceError(
                SourceProblem.NOT_FOUND,
                f"nothing is mounted of {image.reference}: it is empty, or this cluster mounts no images, as Kubernetes"
                " does from 1.33 on with its feature ImageVolume, and containerd from 2.1 or CRI-O from 1.31",
                REFERENCE_FIELD,
            )
        where = f"folder {image.path} of {image.reference}" if image.path else f"the root of {image.reference}"
        # The folder itself may be a link, too, and lead anywhere.
        if not mount.is_dir() or leads_out(mount, root):
            raise SourceError(SourceProblem.NOT_FOUND, f"there is no {where}{_where_models_are(root)}", IMAGE_FIELD)
        _check_links(mount, root, holder=image.reference, field=REFERENCE_FIELD)
        if not (mount / CONFIG).is_file():
            message = f"{where} has no {CONFIG}{_where_models_are(root)}"
            raise SourceError(SourceProblem.NOT_FOUND, message, IMAGE_FIELD)
        _check_files(mount, where=where, field=IMAGE_FIELD)


def _check_files(mount: Path, *, where: str, field: str) -> None:
    names = files_below(mount)
    check_listing(names, where=where, field=field)
    unreadable = sorted(name for name in names if wanted(name) and not os.access(mount / name, os.R_OK))
    if unreadable:
        raise SourceError(
            SourceProblem.FORBIDDEN,
            f"{where}: {unreadable[0]} can't be read by user {os.getuid()}: make it readable for others",
            field,
        )


def _check_links(mount: Path, root: Path, *, holder: str, field: str) -> None:
    """What is mounted may be somebody else's: a link out of it would publish files of this pod, such as its tokens."""
    if leads_out(mount, root):
        raise SourceError(SourceProblem.INVALID, f"the folder is a link that leads out of {holder}", field)
    for path in _all_that_is_read(mount):
        if leads_out(path, root) or (path.is_symlink() and not path.exists()):
            raise SourceError(
                SourceProblem.INVALID,
                f"{path.relative_to(mount)} is a link to {path.readlink()}, which {holder} does not hold there; put "
                "the file itself there, or a relative link to one beside it",
                field,
            )


def _all_that_is_read(mount: Path) -> Iterator[Path]:
    """Yield the paths of a base's files, of the folder of templates before those in it, and of links to nowhere."""
    yield from (path for path in sorted(mount.iterdir()) if wanted(path.name))
    folder = mount / TEMPLATE_FOLDER
    if folder.exists() or folder.is_symlink():
        yield folder
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if wanted(path.relative_to(mount).as_posix()))


def _where_models_are(root: Path) -> str:
    """Return a hint with the folders that hold a model's configuration; empty where there are none."""
    visited = itertools.islice(_files_below(root), _MOST_FILES)
    found = sorted({path.parent.relative_to(root).as_posix() for path in visited if path.name == CONFIG})
    if not found:
        return f", and no folder of it has {CONFIG}: a model is {CONFIG}, a tokenizer and *.safetensors"
    if found == ["."]:
        return f"; {CONFIG} is in the root: leave path empty"
    return f"; {CONFIG} is in {', '.join(found[:_FOLDERS_TOLD])}"


def _files_below(root: Path) -> Iterator[Path]:
    return (Path(folder, name) for folder, _, names in os.walk(root) for name in names)


@contextmanager
def blaming_the_volume(where: str, field: str) -> Iterator[None]:
    """Say of a file that can't be read that it is the volume's.

    Raises:
        SourceError: it could not be read.
    """
    try:
        yield
    except PermissionError as error:
        message = f"{where}: {error.filename} can't be read by user {os.getuid()}: make it readable for others"
        raise SourceError(SourceProblem.FORBIDDEN, message, field) from error
    except OSError as error:
        if is_full(error):  # that is this pod's own
            raise
        raise volume_away(where, error, field) from error
