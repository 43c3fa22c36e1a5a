"""A version as a repository of a Hugging Face hub, in a directory: what PEFT and vLLM load by its name."""

import json
import shutil
from pathlib import Path
from typing import Any

from graft_registry.adapters.publishable import ADAPTER_CONFIG
from graft_registry.atomic_directory import atomic_directory
from graft_registry.digests import file_sha256
from graft_registry.documents import BaseReference, StoredFile
from graft_registry.errors import VersionConflict
from graft_registry.exports.model_card import base_model_id, front_matter, plain_body, split_card
from graft_registry.exports.opened_version import OpenedVersion
from graft_registry.exports.optional import needed

_CARD = "README.md"
_MANIFEST = "graft-version.json"


def write_directory(version: OpenedVersion, path: Path, *, overwrite: bool) -> Path:
    """Write a version into a directory of its own, which appears whole. One that holds this very version is left alone.

    Raises:
        VersionConflict: the directory is there, and holds something else.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if not overwrite and _holds(path, version):
            return path
        if not overwrite or not (path / _MANIFEST).is_file():
            raise VersionConflict(
                f"{path} is not empty; choose another directory"
                + (", or --overwrite this export" if (path / _MANIFEST).is_file() else "")
            )
        lay_out(version, path)
        return path
    with atomic_directory(path) as staging:
        lay_out(version, staging)
    return path


def lay_out(version: OpenedVersion, directory: Path) -> None:
    """Write the files of a version, as a hub wants them, into a directory.

    Weights and report are what was published. The configuration names the base as the hub knows it, the card has the
    hub's front matter, and the manifest of the version lies beside them.
    """
    for file in version.files:
        shutil.copyfile(version.directory / file.path, directory / file.path)
    (directory / ADAPTER_CONFIG).write_text(_config(version))
    card = directory / _CARD
    before = card.read_text(encoding="utf-8", errors="replace") if card.exists() else None
    card.write_text(_card(version, before), encoding="utf-8")
    (directory / _MANIFEST).write_bytes(version.manifest_bytes)


def _holds(directory: Path, version: OpenedVersion) -> bool:
    """Return whether a directory is this version's export. The manifest alone would be believed of one half replaced.

    The card is for people to read, and to write on.
    """
    manifest = directory / _MANIFEST
    if not manifest.is_file() or manifest.read_bytes() != version.manifest_bytes:
        return False
    return all(_holds_file(directory, file, version) for file in version.files)


def _holds_file(directory: Path, file: StoredFile, version: OpenedVersion) -> bool:
    path = directory / file.path
    if not path.is_file():
        return False
    if file.path == ADAPTER_CONFIG:
        return path.read_bytes() == _config(version).encode()
    return file.path == _CARD or file_sha256(path) == file.sha256


def _config(version: OpenedVersion) -> str:
    """Return the adapter's configuration as it is exported."""
    config = json.loads((version.directory / ADAPTER_CONFIG).read_bytes())
    return json.dumps(_naming_base(config, version.manifest.base), indent=2) + "\n"


def _naming_base(config: dict[str, Any], base: BaseReference) -> dict[str, Any]:
    """Name the base by what the hub finds it by. The registry's files name it by its digest, for no hub to guess."""
    revision = {"revision": base.revision} if base.source.hugging_face else {}
    return {**config, "base_model_name_or_path": base_model_id(base), **revision}


def _card(version: OpenedVersion, text: str | None) -> str:
    yaml = needed("yaml", "PyYAML")
    matter, body = split_card(text) if text is not None else ("", plain_body(version.manifest))
    try:
        before = yaml.safe_load(matter)
    except yaml.YAMLError:
        before = None  # A stranger's card; its text stays.
    said = front_matter(version.manifest, before if isinstance(before, dict) else {})
    return f"---\n{yaml.safe_dump(said, sort_keys=False, allow_unicode=True)}---\n{body}"
