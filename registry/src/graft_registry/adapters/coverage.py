"""Which modules of a base an adapter has to have tensors for: by its settings, or else by what it has. Pure.

Of an adapter that was cut short, or trained on fewer layers, an engine serves the rest without a word.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from graft_registry.adapters.expressions import Expression
from graft_registry.adapters.peft_config import LoraSettings
from graft_registry.models.layer_paths import is_in_block

Selection = Callable[[str], bool]


def missing_modules(settings: LoraSettings, adapted: Collection[str], modules: Iterable[str]) -> Sequence[str]:
    """Return the modules of a base that an adapter should change and doesn't.

    Args:
        settings: of the adapter.
        adapted: the modules that it changes.
        modules: the linear modules of the base, by the names that the settings have for them.
    """
    modules = list(modules)
    covered = covered_modules(settings, modules)
    if not covered or (isinstance(settings.target_modules, str) and not _mean_the_same(covered, adapted)):
        return _lacking(adapted, modules)
    changed = frozenset(adapted)
    return [name for name in covered if name not in changed]


def covered_modules(settings: LoraSettings, modules: Iterable[str]) -> Sequence[str] | None:
    """Return which modules the settings select, as PEFT matches them.

    None where that can't be told: without targets, or with an expression that can't be matched safely.
    """
    targeted, excluded = _selection(settings.target_modules), _selection(settings.exclude_modules or ())
    if targeted is None or excluded is None:
        return None
    whole = _names(settings.modules_to_save)
    # By its whole path PEFT takes a module of whichever layer.
    by_path = frozenset(settings.target_modules or ()) if not isinstance(settings.target_modules, str) else frozenset()
    return [
        name
        for name in modules
        if targeted(name)
        and not excluded(name)
        and (name in by_path or _layer_is_chosen(name, settings))
        # PEFT adapts nothing within what is trained as a whole.
        and not any(f".{one}." in f".{name}." for one in whole)
    ]


def _selection(chosen: Sequence[str] | str | None) -> Selection | None:
    if chosen is None:
        return None
    if isinstance(chosen, str):
        if chosen.lower() == "all-linear":
            return is_in_block
        expression = Expression.parse(chosen)
        return expression.matches if expression else None
    endings = frozenset(chosen)
    return lambda name: _ends_in_one_of(name, endings)


def _names(chosen: Sequence[str] | str | None) -> Sequence[str]:
    return (chosen,) if isinstance(chosen, str) else chosen or ()


def _ends_in_one_of(module: str, endings: frozenset[str]) -> bool:
    """Match as PEFT does: the whole path, or any number of its last segments."""
    segments = module.split(".")
    return any(".".join(segments[start:]) in endings for start in range(len(segments)))


def _layer_is_chosen(module: str, settings: LoraSettings) -> bool:
    chosen = settings.layers_to_transform
    if chosen is None or chosen == ():
        return True
    layer = block_of(module) if is_in_block(module) else None
    return layer in (chosen if isinstance(chosen, tuple) else (chosen,))


def _mean_the_same(covered: Collection[str], adapted: Collection[str]) -> bool:
    """Tell whether an expression was written for these names: then it covers whatever was adapted in the blocks."""
    return {name for name in adapted if is_in_block(name)} <= set(covered)


def _lacking(adapted: Collection[str], modules: Sequence[str]) -> Sequence[str]:
    """Return what is missing by the adapter's own measure.

    That is what it changes in one block and not in another that it changes, too. Where there is nothing of that kind,
    it is the blocks at the end, if all before them are changed: so ends an adapter of a base with fewer.
    """
    kinds = {_kind(name) for name in adapted if is_in_block(name)}
    alike = [name for name in modules if is_in_block(name) and _kind(name) in kinds]
    changed = frozenset(adapted)
    chosen = {block_of(name) for name in changed if is_in_block(name)}
    if uneven := [name for name in alike if block_of(name) in chosen and name not in changed]:
        return uneven
    blocks = sorted({block_of(name) for name in alike})
    if set(blocks[: len(chosen)]) != chosen:
        return []
    return [name for name in alike if block_of(name) not in chosen]


def block_of(module: str) -> int:
    """Return the number of the block that a module is in."""
    return next(int(part) for part in module.split(".") if part.isdecimal())


def _kind(module: str) -> str:
    """Return what a module has in common with those like it in other blocks."""
    segments = module.split(".")
    number = next(index for index, segment in enumerate(segments) if segment.isdecimal())
    return ".".join([*segments[:number], "*", *segments[number + 1 :]])
