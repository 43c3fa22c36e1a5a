"""Matches each tensor of an adapter to a module of the base, or says what doesn't fit. Pure.

What doesn't fit is always refused: most engines load an adapter of another size without an error, and answer rubbish.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graft_registry.adapters.coverage import block_of
from graft_registry.models.layer_paths import ModuleNames, is_in_block
from graft_registry.models.safetensors_header import TensorInfo
from graft_trainer.importing.completeness import FIELD, check_complete
from graft_trainer.importing.settings import MERGE_FIRST, AdapterSettings
from graft_trainer.importing.tensor_names import COPY, PARTS, WHOLE, TensorRole, published_name, roles_of
from graft_trainer.importing.wording import natural_order, shown, some
from graft_trainer.outcome import BaseMismatchError, InvalidSourceError

PAIRS: Final = (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"))
MAGNITUDE: Final = "lora_magnitude_vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseShapes:
    """What an adapter has to fit: the base's layers, and all of its parameters by name."""

    name: str
    linear: Mapping[str, tuple[int, int]]
    """Module → [out, in] of what an engine applies adapters to: layers of the language model, head and embedding."""
    parameters: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Adapted:
    """What changes one module: the names of its tensors in the files, by part, and the rank (0 where it has none)."""

    named: str
    """The module, as the adapter calls it."""
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """An adapter of which each tensor has its place.

    ``whole`` are parameters of the base that it brings anew, ``copies`` those that it only holds a copy of, each by the
    base's name for it.
    """

    adapted: dict[str, Adapted]
    whole: dict[str, TensorInfo]
    copies: dict[str, TensorInfo]

    @property
    def tensors(self) -> dict[str, str]:
        """The tensors that are published: their name in PEFT's layout → their name in the files."""
        parts = {
            published_name(module, part): tensor.name
            for module, adapted in self.adapted.items()
            for part, tensor in adapted.tensors.items()
        }
        return parts | {f"base_model.model.{name}": tensor.name for name, tensor in self.whole.items()}


def fit(
    tensors: Sequence[TensorInfo],
    settings: AdapterSettings,
    base: BaseShapes,
    *,
    zeros: Collection[str] = (),
) -> Fitted:
    """Find the place of each tensor.

    ``zeros`` are the names of matrices B that hold nothing but zeros. A layer that the base's language model doesn't
    have, such as one for pictures, is left out where it changes nothing: PEFT adapts every layer of a matching name,
    and a training on texts alone never changes such layers.

    Raises InvalidSourceError for an adapter that would fit no base, and BaseMismatchError for one of another base.
    """
    infos = {tensor.name: tensor for tensor in tensors}
    roles = roles_of(infos)
    if not roles:
        raise InvalidSourceError("the adapter has no tensors; save it again from the trained model")
    _check_parts(roles, settings)
    unchanged = {roles[name].module for name in zeros if name in roles}
    parts = {name: role for name, role in roles.items() if role.part in PARTS}
    adapted, misplaced = _adapted(parts, infos, base, unchanged)
    others = {name: role for name, role in roles.items() if role.part not in PARTS}
    if not adapted and not misplaced:
        raise InvalidSourceError("the adapter has no matrices lora_A and lora_B; save it again from the trained model")
    whole, copies = _parameters(others, infos, base, misplaced)
    if misplaced:
        raise BaseMismatchError(f"{some(misplaced)}, which base {base.name} doesn't have; {_has(base)}", field=FIELD)
    _check_saved_modules({*whole, *(f"{roles[info.name].module}.weight" for info in whole.values())}, settings)
    for module, layer in adapted.items():
        _check_pair(layer, settings)
        _check_shapes(module, layer, base)
        adapted[module] = Adapted(layer.named, layer.tensors, _rank(module, layer, settings))
    check_complete({module: layer.named for module, layer in adapted.items()}, settings, base.linear, base.name)
    return Fitted(adapted=adapted, whole=whole, copies=copies)


def _check_parts(roles: Mapping[str, TensorRole], settings: AdapterSettings) -> None:
    """Refuse tensors of another kind of adapter than the configuration is for."""
    for name, role in roles.items():
        if role.part in PARTS and (role.part == "ia3_l") != (settings.kind == "IA3"):
            raise InvalidSourceError(
                f"{shown(name)} is a tensor of {'IA3' if role.part == 'ia3_l' else 'LoRA'}, but adapter_config.json "
                f"says peft_type {settings.peft_type}; bring the configuration that was saved with these weights"
            )
        if role.part == MAGNITUDE and not settings.use_dora:
            raise InvalidSourceError(
                f"{shown(name)} is a tensor of DoRA, but use_dora is not set in adapter_config.json; set it to true "
                "there, or bring the configuration that was saved with these weights"
            )


def _adapted(
    roles: Mapping[str, TensorRole], infos: Mapping[str, TensorInfo], base: BaseShapes, unchanged: Collection[str]
) -> tuple[dict[str, Adapted], list[str]]:
    names, adapted, misplaced = ModuleNames(base.linear), dict[str, Adapted](), set[str]()
    for name, role in roles.items():
        module = names.find(role.module)
        if module is None:
            misplaced.update({role.module}.difference(unchanged))
            continue
        tensors = adapted.setdefault(module, Adapted(role.module)).tensors
        if role.part in tensors:
            raise InvalidSourceError(
                f"{shown(tensors[role.part].name)} and {shown(name)} are the same tensor; save the adapter again"
            )
        tensors[role.part] = infos[name]
    return adapted, sorted(misplaced)


def _parameters(
    roles: Mapping[str, TensorRole], infos: Mapping[str, TensorInfo], base: BaseShapes, misplaced: list[str]
) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """Match tensors that are whole parameters of the base, or copies of them. Refuse biases."""
    whole: dict[str, TensorInfo] = {}
    copies: dict[str, TensorInfo] = {}
    names = ModuleNames({name.rpartition(".")[0] for name in base.parameters})
    for name, role in roles.items():
        part = role.part.removeprefix(f"{COPY}.") if role.part != COPY else "weight"
        if part not in WHOLE or part == "bias":
            raise InvalidSourceError(
                f"{shown(name)} is a bias that was trained, which engines don't add; {MERGE_FIRST}"
            )
        module = names.find(role.module)
        parameter = f"{module}.{part}"
        if module is None or parameter not in base.parameters:
            misplaced.append(role.module)
            continue
        if infos[name].shape != base.parameters[parameter]:
            raise BaseMismatchError(
                _other_shape(name, infos[name].shape, base.parameters[parameter], base), field=FIELD
            )
        (copies if role.part == COPY else whole)[parameter] = infos[name]
    return whole, copies


def _check_saved_modules(whole: Collection[str], settings: AdapterSettings) -> None:
    """Refuse an adapter that says to have trained a module as a whole and doesn't bring it."""
    modules = {parameter.rpartition(".")[0] for parameter in whole}
    missing = [name for name in settings.modules_to_save if not any(module.endswith(name) for module in modules)]
    if missing:
        raise InvalidSourceError(
            f"adapter_config.json: modules_to_save names {shown(missing[0])}, of which there are no weights; a head "
            "for labels is no part of a language model, and otherwise the files are cut short: save the adapter again"
        )


def _check_pair(layer: Adapted, settings: AdapterSettings) -> None:
    """Refuse a layer of which a part is missing: PEFT makes up what it needs and doesn't find."""
    parts = layer.tensors
    pair = _pair_of(parts)
    if pair is None:
        if "ia3_l" in parts:
            return
        raise InvalidSourceError(
            f"{shown(layer.named)} has {', '.join(parts)} without lora_A and lora_B; copy the files again"
        )
    needed = (*pair, MAGNITUDE) if settings.use_dora else pair
    missing = next((part for part in needed if part not in parts), None)
    if missing is not None:
        because = ", though use_dora is set in adapter_config.json" if missing == MAGNITUDE else ""
        raise InvalidSourceError(
            f"{shown(layer.named)} has no {missing}{because}; the files are cut short: copy or save them again"
        )


def _pair_of(parts: Collection[str]) -> tuple[str, str] | None:
    return next((pair for pair in PAIRS if not set(pair).isdisjoint(parts)), None)


def _check_shapes(module: str, layer: Adapted, base: BaseShapes) -> None:
    rows, columns = base.linear[module]
    parts = layer.tensors
    pair = _pair_of(parts)
    rank = parts[pair[0]].shape[0] if pair and parts[pair[0]].shape else 0
    expected: dict[str, tuple[tuple[int, ...], ...]] = {
        "lora_A": ((rank, columns),),
        "lora_B": ((rows, rank),),
        "lora_embedding_A": ((rank, rows),),
        "lora_embedding_B": ((columns, rank),),
        # One number for each output: of an embedding, whose rows are its inputs, those are the columns.
        MAGNITUDE: ((columns if pair == PAIRS[1] else rows,),),
        "ia3_l": ((rows, 1), (1, columns)),
    }
    for part, tensor in parts.items():
        if tensor.shape not in expected[part]:
            raise BaseMismatchError(_other_shape(tensor.name, tensor.shape, expected[part][0], base), field=FIELD)


def _other_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...], base: BaseShapes) -> str:
    message = f"{shown(name)} is {shown(list(shape))}, base {base.name} needs {list(expected)}"
    is_vocabulary = not is_in_block(name) and any(word in name for word in ("embed", "head", "wte"))
    if is_vocabulary and len(shape) == len(expected) and sum(map(int.__ne__, shape, expected)) == 1:
        return (
            f"{message}: the vocabulary was resized, for tokens that this base doesn't have; {MERGE_FIRST}, with the "
            "tokenizer that was saved beside the adapter"
        )
    return f"{message}: it was trained on a model of another size; name the base that it was trained on"


def _rank(module: str, layer: Adapted, settings: AdapterSettings) -> int:
    """Return the rank of a module, which has to be the configuration's."""
    matrix = layer.tensors.get("lora_A", layer.tensors.get("lora_embedding_A"))
    if matrix is None:
        return 0
    rank = matrix.shape[0]
    known = {settings.r, *settings.rank_pattern.values()}
    if rank not in known:
        said = shown(" or ".join(map(str, sorted(known))))
        raise InvalidSourceError(
            f"{shown(matrix.name)} has rank {rank}, but adapter_config.json says {said}, so its scale isn't known; "
            "bring the configuration that was saved with these weights"
        )
    return rank


def _has(base: BaseShapes) -> str:
    """Say what an adapter can change in the base."""
    blocks = [module for module in base.linear if is_in_block(module)]
    kinds = sorted({module.rpartition(".")[2] for module in blocks})
    first = min(blocks, key=natural_order, default="")
    return (
        f"it has {', '.join(kinds)} in {len({block_of(module) for module in blocks})} blocks, such as {first}. Name "
        "the base that the adapter was trained on (no engine serves layers for pictures or sound, nor single experts)"
    )
