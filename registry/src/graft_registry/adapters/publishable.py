"""Which files a version may consist of (docs/contracts.md §3): an allow-list, checked by name and by content."""

import json
import re
from pathlib import Path
from typing import Final

from graft_registry.digests import file_sha256
from graft_registry.documents import StoredFile
from graft_registry.errors import InvalidModel, Unsafe
from graft_registry.models.safetensors_header import read_header

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
ADAPTER_SHARD: Final = re.compile(r"adapter_model-(\d{5})-of-(\d{5})\.safetensors")
"""A part of weights that were saved in several files. Sources may have them, versions never do."""
_ALLOWED: Final = re.compile(
    r"adapter_config\.json|adapter_model\.safetensors|README\.md|report\.html"
    r"|merged/([A-Za-z0-9_][A-Za-z0-9._+-]*/)*[A-Za-z0-9_][A-Za-z0-9._+-]*\.(safetensors|json)"
)


def path_is_allowed(path: str) -> bool:
    """Return whether a version may contain a file of this relative path."""
    return _ALLOWED.fullmatch(path) is not None


def publishable_files(directory: Path) -> tuple[StoredFile, ...]:
    """List a version's directory with sizes and hashes, sorted by path.

    Raises:
        Unsafe: a link, a special file, a name outside the allow-list, content that isn't what the name says
            (a pickle named ``.json`` or ``.safetensors``), or no adapter in it.
    """
    entries = sorted(entry for entry in directory.rglob("*") if entry.is_symlink() or not entry.is_dir())
    files = tuple(_publishable(directory, entry) for entry in entries)
    missing = {ADAPTER_CONFIG, ADAPTER_WEIGHTS} - {file.path for file in files}
    if missing:
        raise Unsafe(str(directory), f"a version must contain {' and '.join(sorted(missing))}")
    return files


def _publishable(directory: Path, entry: Path) -> StoredFile:
    path = entry.relative_to(directory).as_posix()
    if entry.is_symlink() or not entry.is_file():
        raise Unsafe(path, "only regular files can be published, no links or special files")
    if not path_is_allowed(path):
        raise Unsafe(path, "not a file that a version may contain; see the allow-list in docs/contracts.md")
    _check_content(path, entry)
    return StoredFile(path=path, size=entry.stat().st_size, sha256=file_sha256(entry))


def _check_content(path: str, file: Path) -> None:
    """Check that the content is of the kind that the name promises: that excludes every pickle and archive."""
    try:
        if file.suffix == ".safetensors":
            read_header(file)
        elif file.suffix == ".json":
            json.loads(file.read_bytes())
        elif b"\0" in file.read_bytes():
            raise Unsafe(path, "contains NUL bytes, so it isn't text")
    except InvalidModel as error:
        raise Unsafe(path, f"not a safetensors file: {error}") from error
    except (ValueError, RecursionError) as error:
        raise Unsafe(path, f"not JSON: {error}") from error
