"""Reads the names that training libraries give to an adapter's tensors, and what their headers say. Pure.

PEFT saves ``base_model.model.<module>.lora_A.weight``. What wraps the model while it is saved leaves its own parts in
the name, and so do the adapter's name and a second PEFT around the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from graft_registry.models.safetensors_header import TensorInfo
from graft_trainer.importing.wording import shown, some
from graft_trainer.outcome import InvalidSourceError

ROOT: Final = "base_model.model."

WRAPPERS: Final = frozenset(
    {
        *("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module"),
        *("_forward_module", "pretrained_model"),
    }
)
"""Left in names by torch.compile, FSDP, activation checkpointing, DistributedDataParallel, DeepSpeed, value heads."""

LONGEST_NAME: Final = 1024
"""Characters of a tensor's name; those of the deepest models have two hundred."""

DTYPES: Final = frozenset({"F32", "F16", "BF16"})
"""Number formats that engines take for adapters."""

MATRICES: Final = frozenset({"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"})
PARTS: Final = MATRICES | {"lora_magnitude_vector", "ia3_l"}
"""What a layer's change is made of."""
COPY: Final = "base_layer"
"""A copy of the base's own weight, which PEFT adds for embeddings that are adapted."""
WHOLE: Final = frozenset({"weight", "bias"})
"""A parameter of the base itself, which was trained as it is."""
SAVED: Final = "modules_to_save"
UNTRAINED: Final = "original_module"


@dataclass(frozen=True, slots=True)
class TensorRole:
    """What a tensor is: a part of the change of a module, or (``weight``, ``bias``) a parameter that takes its place.

    ``adapter`` is the name that the training had for the adapter, where it is in the tensor's; else empty.
    """

    module: str
    part: str
    adapter: str = ""


def check_headers(tensors: Iterable[TensorInfo]) -> None:
    """Refuse tensors that not even their file can be opened for: libraries stop at them in their own ways.

    Raises InvalidSourceError.
    """
    seen = set[str]()
    for tensor in tensors:
        if len(tensor.name) > LONGEST_NAME:
            raise InvalidSourceError(
                f"a tensor's name has {len(tensor.name)} characters ({shown(tensor.name)}), at most {LONGEST_NAME} are "
                "read; save the adapter again"
            )
        if tensor.name in seen:
            raise InvalidSourceError(
                f"{shown(tensor.name)} is in two of the files, and nothing says which counts; remove the files that "
                "are left of another adapter, or save it again into an empty folder"
            )
        seen.add(tensor.name)
        try:
            tensor.name.encode()
        except UnicodeEncodeError:
            raise InvalidSourceError(
                f"a tensor is called '{shown(tensor.name)}', which isn't text; save the adapter again"
            ) from None
        if tensor.dtype not in DTYPES:
            raise InvalidSourceError(
                f"{shown(tensor.name)} is stored as {tensor.dtype}, which no engine takes for adapters; save it as "
                "bfloat16 (model.to(torch.bfloat16) before save_pretrained)"
            )
        if 0 in tensor.shape:
            raise InvalidSourceError(
                f"{shown(tensor.name)} is empty ({shown(list(tensor.shape))}), as DeepSpeed ZeRO-3 leaves what it "
                "has spread over processes; save the adapter with stage3_gather_16bit_weights_on_model_save"
            )


def role_of(name: str) -> TensorRole | None:
    """Return what a tensor is by its name; None for a copy of the base's that training left alone.

    Raises InvalidSourceError for a name that PEFT doesn't give.
    """
    segments = _below_peft([segment for segment in name.split(".") if segment not in WRAPPERS])
    if UNTRAINED in segments:
        return None
    marks = [index for index, segment in enumerate(segments) if segment in PARTS or segment in (COPY, SAVED)]
    if not segments:
        raise _unreadable(name)
    if not marks:
        module, part = ".".join(segments[:-1]), segments[-1]
        if part in WHOLE and module:
            return TensorRole(module, part)
        raise _unreadable(name)
    mark = marks[-1]
    module, part, tail = ".".join(segments[:mark]), segments[mark], segments[mark + 1 :]
    kind = tail.pop() if tail and tail[-1] in WHOLE else "weight"
    if len(tail) > 1 or not module:
        raise _unreadable(name)
    adapter = tail[0] if tail else ""
    if part == SAVED:
        return TensorRole(module, kind, adapter)
    return TensorRole(module, part if kind == "weight" else f"{part}.{kind}", adapter)


def _below_peft(segments: list[str]) -> list[str]:
    """Leave out PEFT's own parts, which may stand there twice, and what wrapped PEFT's model."""
    prefix = ["base_model", "model"]
    begin = next((at for at in range(len(segments) - 1) if segments[at : at + 2] == prefix), None)
    if begin is None:
        return segments
    while segments[begin : begin + 2] == prefix:
        begin += 2
    return segments[begin:]


def _unreadable(name: str) -> InvalidSourceError:
    return InvalidSourceError(f"{shown(name)} is no tensor of an adapter that Graft can read; {EXPECTED}")


EXPECTED: Final = f"PEFT's are called {ROOT}<module>.lora_A.weight"


def roles_of(names: Iterable[str]) -> dict[str, TensorRole]:
    """Return what each tensor of an adapter is, by its name.

    Raises InvalidSourceError where two of them are the same, or belong to different adapters.
    """
    roles = {name: role for name in names if (role := role_of(name)) is not None}
    # A module that is saved for two reasons is written twice by PEFT: under its own name, and as it is in training.
    plain = {(role.module, role.part) for name, role in roles.items() if SAVED not in name}
    roles = {name: role for name, role in roles.items() if SAVED not in name or (role.module, role.part) not in plain}
    adapters = sorted({role.adapter for role in roles.values()} - {""})
    if len(adapters) > 1:
        raise InvalidSourceError(
            f"the weights are of several adapters ({some(adapters)}); save one of them alone "
            "(save_pretrained(selected_adapters=[…]))"
        )
    seen: dict[tuple[str, str], str] = {}
    for name, role in roles.items():
        other = seen.setdefault((role.module, role.part), name)
        if other != name:
            raise InvalidSourceError(
                f"{shown(other)} and {shown(name)} are the same tensor under two names; save the adapter again"
            )
    return roles


def published_name(module: str, part: str) -> str:
    """Return the name that PEFT saves a tensor under."""
    suffix = ".weight" if part in ("lora_A", "lora_B") else ""
    return f"{ROOT}{module}.{part}{suffix}"
