"""Reads the names that training libraries give to an adapter's tensors, and what their headers say. Pure.

PEFT saves ``base_model.model.<module>.lora_A.weight``. What wraps the model while it is saved leaves its own parts in
the name, and so do the adapter's name and a second PEFT around the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from graft_registry.models.safetensors_header import TensorInfo
from graft_trainer.outcome import InvalidSourceError

ROOT: Final = "base_model.model."

WRAPPERS: Final = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module"})
"""Left in names by torch.compile, FSDP, activation checkpointing and DistributedDataParallel."""

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
    for tensor in tensors:
        try:
            tensor.name.encode()
        except UnicodeEncodeError:
            raise InvalidSourceError(
                f"a tensor is called {tensor.name!a}, which isn't text; save the adapter again"
            ) from None
        if tensor.dtype not in DTYPES:
            raise InvalidSourceError(
                f"{tensor.name} is stored as {tensor.dtype}, which no engine takes for adapters; save it as bfloat16 "
                "(model.to(torch.bfloat16) before save_pretrained)"
            )
        if 0 in tensor.shape:
            raise InvalidSourceError(
                f"{tensor.name} is empty ({list(tensor.shape)}), as DeepSpeed ZeRO-3 leaves what it has spread over "
                "processes; save the adapter with stage3_gather_16bit_weights_on_model_save"
            )


def role_of(name: str) -> TensorRole | None:
    """Return what a tensor is by its name; None for a copy of the base's that training left alone.

    Raises InvalidSourceError for a name that PEFT doesn't give.
    """
    segments = [segment for segment in name.split(".") if segment not in WRAPPERS]
    while segments[:2] == ["base_model", "model"]:
        segments = segments[2:]
    if UNTRAINED in segments:
        return None
    marks = [index for index, segment in enumerate(segments) if segment in PARTS or segment in (COPY, SAVED)]
    if not marks:
        module, part = ".".join(segments[:-1]), segments[-1]
        if part in WHOLE and module:
            return TensorRole(module, part)
        raise InvalidSourceError(f"{name} is no tensor of an adapter that Graft can read; {EXPECTED}")
    mark = marks[-1]
    module, part, tail = ".".join(segments[:mark]), segments[mark], segments[mark + 1 :]
    kind = tail.pop() if tail and tail[-1] in WHOLE else "weight"
    if len(tail) > 1 or not module:
        raise InvalidSourceError(f"{name} is no tensor of an adapter that Graft can read; {EXPECTED}")
    adapter = tail[0] if tail else ""
    if part == SAVED:
        return TensorRole(module, kind, adapter)
    return TensorRole(module, part if kind == "weight" else f"{part}.{kind}", adapter)


EXPECTED: Final = f"PEFT's are called {ROOT}<module>.lora_A.weight"


def roles_of(names: Iterable[str]) -> dict[str, TensorRole]:
    """Return what each tensor of an adapter is, by its name.

    Raises InvalidSourceError where two of them are the same, or belong to different adapters.
    """
    roles = {name: role for name in names if (role := role_of(name)) is not None}
    # A module that is saved for two reasons is written twice by PEFT: under its own name, and as it is in training.
    roles = {name: role for name, role in roles.items() if SAVED not in name or _plain(role) not in roles}
    adapters = sorted({role.adapter for role in roles.values()} - {""})
    if len(adapters) > 1:
        raise InvalidSourceError(
            f"the weights are of several adapters ({', '.join(adapters[:5])}); save one of them alone "
            "(save_pretrained(selected_adapters=[…]))"
        )
    seen: dict[tuple[str, str], str] = {}
    for name, role in roles.items():
        other = seen.setdefault((role.module, role.part), name)
        if other != name:
            raise InvalidSourceError(f"{other} and {name} are the same tensor under two names; save the adapter again")
    return roles


def _plain(role: TensorRole) -> str:
    """Return the name under which PEFT saves a parameter that takes the place of the base's."""
    return f"{ROOT}{role.module}.{role.part}"


def published_name(module: str, part: str) -> str:
    """Return the name that PEFT saves a tensor under."""
    suffix = ".weight" if part in ("lora_A", "lora_B") else ""
    return f"{ROOT}{module}.{part}{suffix}"
