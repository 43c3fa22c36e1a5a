"""Where the layers of a language model are, by the names of its tensors.

Files and running models don't always agree: wrapped models (text and pictures in one) are stored under older names,
and mixtures of experts are stored one expert at a time but trained as one stacked tensor. What counts here are the
names that **training** has, since those are what an adapter's tensors are called; engines translate them themselves.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from graft_registry.errors import InvalidModel

HEAD: Final = "lm_head"
_EMBEDDINGS: Final = frozenset({"embed_tokens", "wte", "embed_in", "word_embeddings", "embeddings"})
HEADS: Final = frozenset({"lm_head", "embed_out"})
_ROUTERS: Final = frozenset({"gate", "router"})
"""Choose the experts of a token. Transformers 5 keeps their weights in modules that PEFT doesn't wrap."""
_ONE_EXPERT: Final = re.compile(r"\.experts\.\d+\.")
_TRANSPOSED: Final = frozenset({"GPT2LMHeadModel", "GPT2DoubleHeadsModel", "OpenAIGPTLMHeadModel"})
"""Keep their weights as [in, out], as TensorFlow did."""

_BLOCKS: Final = (
    "model.language_model.layers",
    "model.text_model.layers",
    "language_model.model.layers",
    "model.layers",
    "gpt_neox.layers",
    "transformer.h",
    "transformer.blocks",
    "model.decoder.layers",
    "backbone.layers",
    "decoder.layers",
    "h",
)
"""Where checkpoints keep their blocks, the more specific first."""
_BARE: Final[Mapping[str, str]] = {"decoder": "model.decoder", "h": "transformer.h"}
"""Stored without the outermost part, as the first models of their kind were."""
_WRAPPED: Final = ("language_model.layers", "model.language_model.model.layers", "model.model.layers", "layers")
"""Where else an adapter may say that the blocks are: trained on the language model of a larger one, or on a part."""
SUPPORTED: Final = ", ".join(name for name in _BLOCKS if name.split(".")[0] not in _BARE)


@dataclass(frozen=True, slots=True)
class LayerPaths:
    """How the names in a model's files become those of its modules in training.

    ``stored`` is the path of the list of blocks in the files, ``trained`` in a running model.
    """

    stored: str
    trained: str
    transposed: bool = False

    @classmethod
    def find(cls, names: Iterable[str], architecture: str, *, wrapped: bool) -> "LayerPaths":
        """Find the blocks among the tensors' names.

        Args:
            names: of all tensors in the files.
            architecture: the model's class.
            wrapped: whether the language model is a part of another one (``text_config`` in its configuration).

        Raises:
            InvalidModel: no path that a language model is known to have; the message says which those are.
        """
        names = list(names)
        stored = next((path for path in _BLOCKS if any(_is_below(name, path) for name in names)), None)
        if stored is None:
            roots = sorted({re.split(r"\.\d+\.", name)[0] for name in names if re.search(r"\.\d+\.", name)})
            raise InvalidModel(
                f"{architecture}: no linear layer below {SUPPORTED}, where causal language models have theirs"
                + (f"; found {', '.join(roots[:4])}" if roots else "")
            )
        return cls(stored, _in_training(stored, architecture, wrapped=wrapped), architecture in _TRANSPOSED)

    def module(self, tensor: str) -> str | None:
        """Return the path in training of the module that a matrix ``….weight`` belongs to; None for all others.

        None, too, for single experts and for routers, which are no linear layers in training.
        """
        path = tensor.removesuffix(".weight")
        if path == tensor:
            return None
        leaf = path.rpartition(".")[2]
        if _is_below(tensor, self.stored):
            if _ONE_EXPERT.search(path) or not _ROUTERS.isdisjoint(path.split(".")[-2:]):
                return None
            return self.trained + path[len(self.stored) :]
        if leaf in HEADS and path.count(".") <= 1:
            return leaf
        if leaf in _EMBEDDINGS and path.rpartition(".")[0] == self.stored.rpartition(".")[0]:
            return ".".join(filter(None, (self.trained.rpartition(".")[0], leaf)))
        return None

    def blocks(self, tensors: Iterable[str]) -> int:
        """Return the number of blocks among the tensors of the files."""
        start = len(self.stored) + 1
        return len({name[start:].partition(".")[0] for name in tensors if _is_below(name, self.stored)})

    def is_block_weight(self, tensor: str) -> bool:
        """Tell whether a tensor is a weight of a block, experts included."""
        return tensor.endswith(".weight") and _is_below(tensor, self.stored)


def is_in_block(module: str) -> bool:
    """Tell whether a module's path, such as ``model.layers.0.mlp.up_proj``, is that of one block among many."""
    return any(part.isdecimal() for part in module.split("."))


def _is_below(tensor: str, path: str) -> bool:
    return tensor.startswith(f"{path}.") and tensor[len(path) + 1 :].partition(".")[0].isdecimal()


def _in_training(stored: str, architecture: str, *, wrapped: bool) -> str:
    """Return the path of the blocks in Transformers 5."""
    first, _, rest = stored.partition(".")
    if first in _BARE:
        return ".".join(filter(None, (_BARE[first], rest)))
    if stored == "backbone.layers" and architecture.startswith("NemotronH"):
        return "model.layers"
    if wrapped and stored in ("language_model.model.layers", "model.layers"):
        # Llama 4 is the one that still runs as it is stored.
        return stored if architecture.startswith("Llama4") else "model.language_model.layers"
    return stored


class ModuleNames:
    """Finds the modules of a model by the names that another layout of the same model has for them."""

    def __init__(self, modules: Collection[str]) -> None:
        """Take the paths of the model's own modules."""
        self._modules = frozenset(modules)
        self._blocks = next((root for name in sorted(modules) if (root := _blocks_of(name))), None)

    def find(self, name: str) -> str | None:
        """Return the module that is meant, None where the model has no such module."""
        if name in self._modules:
            return name
        leaf = name.rpartition(".")[2]
        if leaf in HEADS | _EMBEDDINGS and not is_in_block(name):
            alike = HEADS if leaf in HEADS else _EMBEDDINGS
            return next((own for own in sorted(self._modules) if own.rpartition(".")[2] in alike), None)
        if self._blocks is None:
            return None
        for blocks in sorted({*_BLOCKS, *_WRAPPED}, key=len, reverse=True):
            theirs, ours = (path.rpartition(".")[0] for path in (blocks, self._blocks))
            if _is_below(name, blocks):
                renamed = self._blocks + name[len(blocks) :]
            elif theirs and name.startswith(f"{theirs}."):
                renamed = ours + name[len(theirs) :]
            else:
                continue
            if renamed in self._modules:
                return renamed
        return None


def _blocks_of(module: str) -> str | None:
    """Return the path of the blocks that a module is in."""
    return next((blocks for blocks in (*_BLOCKS, *_WRAPPED) if _is_below(module, blocks)), None)
