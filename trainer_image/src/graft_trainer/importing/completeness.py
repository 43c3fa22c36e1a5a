"""Whether an adapter has tensors for every layer that its configuration says to change. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from graft_registry.adapters.coverage import covered_modules, missing_modules
from graft_registry.adapters.peft_config import LoraSettings
from graft_registry.models.layer_paths import ModuleNames, is_in_block
from graft_trainer.importing.settings import AdapterSettings
from graft_trainer.importing.wording import natural_order, some
from graft_trainer.outcome import BaseMismatchError, InvalidSourceError

FIELD: Final = "spec.baseModelRef"


def check_complete(named: Mapping[str, str], settings: AdapterSettings, linear: Collection[str], base: str) -> None:
    """Refuse an adapter of a base with fewer blocks, or of which a part is missing.

    Args:
        named: the modules that it changes → what it calls them.
        settings: what it says about itself.
        linear: the base's linear modules.
        base: the base's name.

    Raises:
        BaseMismatchError: something is missing.
        InvalidSourceError: the settings are of another adapter.
    """
    theirs = _called(named, linear)
    ours = {name: module for module, name in theirs.items()}
    meant = _settings(settings, theirs)
    targets = settings.target_modules
    if isinstance(targets, list) and targets and covered_modules(meant, ours) == []:
        raise InvalidSourceError(
            f"adapter_config.json: target_modules, with exclude_modules and layers_to_transform, covers no layer of "
            f"base {base}: {some(targets)}; bring the configuration that was saved with these weights"
        )
    missing = [ours[name] for name in missing_modules(meant, set(named.values()), ours)]
    if missing:
        raise BaseMismatchError(
            f"there are no tensors for {some(sorted(missing, key=natural_order))}, which {_meant_by(settings)} in "
            f"base {base}: it was trained on fewer layers, or the files are cut short; name the base that it was "
            "trained on, or list target_modules by their whole paths, if only these were meant",
            field=FIELD,
        )


def _called(named: Mapping[str, str], linear: Iterable[str]) -> dict[str, str]:
    """Return what the adapter's training has called each of the base's modules.

    What it doesn't change is called like the rest: blocks have one place in a model.
    """
    roots = {_root(module): _root(name) for module, name in named.items() if is_in_block(module) and is_in_block(name)}

    def called(module: str) -> str:
        if module in named or not is_in_block(module):
            return named.get(module, module)
        root = _root(module)
        return roots.get(root, root) + module[len(root) :]

    return {module: called(module) for module in linear}


def _root(module: str) -> str:
    """Return the path of the list of blocks that a module is in."""
    segments = module.split(".")
    number = next(index for index, segment in enumerate(segments) if segment.isdecimal())
    return ".".join(segments[:number])


def _settings(settings: AdapterSettings, theirs: Mapping[str, str]) -> LoraSettings:
    """Return what says which modules are meant, with whole paths as the tensors are called."""
    fields = settings.model_dump(include={"peft_type", "layers_to_transform", "modules_to_save"})
    names = ModuleNames(theirs)
    for field in ("target_modules", "exclude_modules"):
        chosen: Sequence[str] | str | None = getattr(settings, field)
        fields[field] = [_path(one, names, theirs) for one in chosen] if isinstance(chosen, list) else chosen
    return LoraSettings.model_validate(fields)


def _path(name: str, names: ModuleNames, theirs: Mapping[str, str]) -> str:
    """Return the path of a module as the tensors have it; the end of a path is left as it is."""
    found = names.find(name) if is_in_block(name) else None
    return theirs[found] if found else name


def _meant_by(settings: AdapterSettings) -> str:
    """Say why modules are thought to be missing."""
    if settings.target_modules == "all-linear" or isinstance(settings.target_modules, list):
        return "target_modules covers"
    return "target_modules covers, or which it changes in other blocks"
