"""PEFT's tensor names, and the shapes that the matrices of one layer must have."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from graft_registry.models.safetensors_header import TensorInfo

_ROOT: Final = "base_model.model."
_MODULES: Final = frozenset({"lora_A", "lora_B", "base_layer"})
"""Parts that are modules of their own, with a ``weight``; the others are parameters of the adapted layer."""
_PARAMETERS: Final = frozenset({"lora_embedding_A", "lora_embedding_B"})
_PAIRS: Final = (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"))


@dataclass(frozen=True, slots=True)
class LoraModule:
    """The tensors of one adapted layer, by part.

    A linear layer [out, in] has ``lora_A`` [r, in] and ``lora_B`` [out, r]. An embedding [vocabulary, hidden] has
    ``lora_embedding_A`` [r, vocabulary] and ``lora_embedding_B`` [hidden, r]. PEFT also stores a copy of the base's
    own matrix (``base_layer``) for an adapted embedding or output layer.
    """

    parts: dict[str, TensorInfo] = field(default_factory=dict)

    def missing(self) -> str | None:
        """Return the part that the layer's pair lacks, None if it is whole."""
        pair = next((pair for pair in _PAIRS if not self.parts.keys().isdisjoint(pair)), _PAIRS[0])
        return next((part for part in pair if part not in self.parts), None)

    def misfit(self, shape: tuple[int, int], ranks: Set[int], dtypes: Set[str]) -> str | None:
        """Return which matrix doesn't fit a base layer of ``shape`` [out, in], None if all do.

        Args:
            shape: of the base's own matrix.
            ranks: that the config allows.
            dtypes: that the engine can load.
        """
        rank = next(part.shape[0] if part.shape else 0 for name, part in self.parts.items() if name.endswith("_A"))
        if rank not in ranks:
            return f"has rank {rank}, but adapter_config.json says {' or '.join(map(str, sorted(ranks)))}"
        rows, columns = shape
        expected = {
            "lora_A": (rank, columns),
            "lora_B": (rows, rank),
            "lora_embedding_A": (rank, rows),
            "lora_embedding_B": (columns, rank),
            "base_layer": shape,
        }
        for name, tensor in self.parts.items():
            if tensor.shape != expected[name]:
                return f"{name} is {list(tensor.shape)}, the base needs {list(expected[name])}"
            if tensor.dtype not in dtypes:
                return f"{name} is stored as {tensor.dtype}, not as one of {', '.join(sorted(dtypes))}"
        return None


def lora_modules(tensors: Iterable[TensorInfo]) -> tuple[dict[str, LoraModule], Sequence[str]]:
    """Group tensors by the base's module path; also return the names that aren't PEFT's LoRA names."""
    modules: dict[str, LoraModule] = {}
    unexpected = []
    for tensor in tensors:
        layer, _, part = tensor.name.rpartition(".")
        parts = _PARAMETERS
        if part == "weight":
            layer, _, part = layer.rpartition(".")
            parts = _MODULES
        if part not in parts or not layer.startswith(_ROOT):
            unexpected.append(tensor.name)
            continue
        path = layer.removeprefix(_ROOT)
        if path not in modules:
            modules[path] = LoraModule()
        modules[path].parts[part] = tensor
    return modules, unexpected
