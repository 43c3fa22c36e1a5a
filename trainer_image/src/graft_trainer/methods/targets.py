"""Which layers of a base get an adapter: what the user named, or what the field's default means for its architecture.

PEFT only complains if no name matches anything. A name that is misspelt, or one that another architecture has, would
be passed over in silence, and most of the model would go untrained.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from graft_trainer.methods.architectures import (
    TAKEN_FOR_EXPERTS,
    TAKEN_FOR_MIXTRAL_EXPERTS,
    WITH_RENAMED_EXPERTS,
    Layers,
)
from graft_trainer.outcome import InvalidConfigError

FIELD: Final = "spec.lora.targetModules"
ALL_LINEAR: Final = "all-linear"
DEFAULT_TARGETS: Final = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The field's default, which stands for attention whatever its layers are called: Phi-3 has one ``qkv_proj``, DeepSeek
seven matrices, and on those the four names alone would adapt the output and nothing else."""

NAMES_OF_EXPERTS: Final = TAKEN_FOR_EXPERTS | TAKEN_FOR_MIXTRAL_EXPERTS | {"gate_up_proj", "experts"}
"""What the matrices of experts are called in checkpoints, and in models that hold them stacked."""
EXPERTS_ARE_LEFT: Final = "which are one stacked tensor for all and are not adapted (docs/bases.md)"


def target_modules(wanted: Sequence[str], layers: Layers) -> list[str]:
    """Return names of modules for PEFT that select exactly the layers that are wanted.

    Raises InvalidConfigError, naming the layers that there are, for a name that matches none or none that can be
    adapted.
    """
    if list(wanted) == [ALL_LINEAR]:
        chosen = set(layers.adaptable)
    elif tuple(wanted) == DEFAULT_TARGETS:
        chosen = {path for path in layers.attention if path not in layers.left_out}
    else:
        chosen = {path for name in wanted for path in _named(name, layers)}
    if not chosen:
        raise InvalidConfigError(
            f"{FIELD}: this base ({layers.model_type}) has no attention layers that an adapter could change by "
            f"default; name some of its layers: {', '.join(_names(layers.linear)) or 'none'}",
            field=FIELD,
        )
    everything = [*layers.linear, *layers.elsewhere]
    if ALL_LINEAR not in wanted and {path for path in everything if _matches(path, wanted)} == chosen:
        return list(wanted)
    return shortest_suffixes(chosen, everything)


def shortest_suffixes(chosen: Collection[str], everything: Collection[str]) -> list[str]:
    """Return the shortest ends of paths that select the chosen paths of a model and no others, sorted."""
    suffixes: set[str] = set()
    for path in chosen:
        parts = path.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1) if not parts[start].isdecimal())
        suffixes.add(next(end for end in ends if all(other in chosen for other in _ending_in(end, everything))))
    return sorted(suffixes)


def _ending_in(end: str, paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path == end or path.endswith(f".{end}")]


def _matches(path: str, names: Iterable[str]) -> bool:
    return any(path == name or path.endswith(f".{name}") for name in names)


def _named(name: str, layers: Layers) -> list[str]:
    """Return the layers that a name means."""
    if name.rpartition(".")[2] in WITH_RENAMED_EXPERTS.get(layers.model_type, ()):
        raise InvalidConfigError(
            f"{FIELD}: {name} would be taken for the experts of this base ({layers.model_type}), {EXPERTS_ARE_LEFT}. "
            f"Leave it out; what can be adapted is {', '.join(_names(layers.adaptable))}",
            field=FIELD,
        )
    found = [path for path in layers.linear if _matches(path, [name])]
    # Embeddings and the output layer are nobody's default, but may be named.
    outside = [path for path in layers.elsewhere if _matches(path, [name]) and "." not in path.replace("model.", "", 1)]
    if not found and not outside:
        raise InvalidConfigError(f"{FIELD}: {_unknown(name, layers)}", field=FIELD)
    return found or outside


def _unknown(name: str, layers: Layers) -> str:
    names = _names(layers.linear)
    if "expert" in name or (layers.stacked_experts and name.rpartition(".")[2] in NAMES_OF_EXPERTS):
        return (
            f"{name} is of the experts of this base ({layers.model_type}), {EXPERTS_ARE_LEFT}; "
            f"what can be adapted is {', '.join(_names(layers.adaptable))}"
        )
    close = get_close_matches(name.rpartition(".")[2], names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{name} is no linear layer of this base{hint}; it has {', '.join(names)}, or say all-linear"


def _names(paths: Iterable[str]) -> list[str]:
    return sorted({path.rpartition(".")[2] for path in paths})
