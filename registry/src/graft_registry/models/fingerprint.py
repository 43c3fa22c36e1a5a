"""What a directory with a Hugging Face model is: its weights, its shapes, its tokenizer, its chat template."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from graft_registry.digests import digest_of, file_sha256
from graft_registry.documents import Fingerprint, StoredFile
from graft_registry.documents.base import base_digest
from graft_registry.errors import InvalidModel
from graft_registry.models.chat_templates import chat_template_digest
from graft_registry.models.layer_paths import HEAD, HEADS, LayerPaths, is_in_block
from graft_registry.models.model_config import ModelConfig, generation_behaviour, read_json
from graft_registry.models.safetensors_header import TensorInfo, read_header
from graft_registry.sources.source_files import files_below, wanted

_TOKENIZER_FILES: Final = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
_TOKENIZER_CONFIG: Final = "tokenizer_config.json"
CONFIG: Final = "config.json"
_FLOATING_DTYPES: Final = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_DTYPE_NAMES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_QUANTIZED: Final[Mapping[str, str]] = {
    "awq": "AWQ",
    "gptq": "GPTQ",
    "bitsandbytes": "bitsandbytes",
    "auto-round": "AutoRound",
    "aqlm": "AQLM",
    "hqq": "HQQ",
    "eetq": "EETQ",
    "quanto": "Quanto",
    "vptq": "VPTQ",
    "spqr": "SpQR",
    "higgs": "HIGGS",
    "bitnet": "BitNet",
    "torchao": "torchao",
}
"""Ways to pack weights that neither training nor merging can start from, by ``quant_method``, with their names."""
_PACKED: Final = ("qweight", "weight_packed", "qzeros")
"""The last parts of the names of packed weights, where ``quant_method`` alone doesn't tell (compressed-tensors)."""
_FOUR_BIT_BLOCKS: Final = "_blocks"
"""The end of the name of a tensor of MXFP4: two values in a byte, beside a tensor of scales."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Everything that a base manifest says about content. ``linear_modules``: path → (out, in)."""

    fingerprint: Fingerprint
    weights_digest: str
    linear_modules: dict[str, tuple[int, int]]
    parameters: int
    files: tuple[StoredFile, ...]

    @property
    def digest(self) -> str:
        """The base digest."""
        return base_digest(self.weights_digest, self.fingerprint)


def check_configuration(directory: Path) -> ModelConfig:
    """Read ``config.json`` of a model's directory, and find in it alone what can't be a base.

    Raises:
        InvalidModel: no causal language model, or weights that are packed; the message names the field.
    """
    config = ModelConfig.read(directory)
    assert config.architecture
    _check_quantization(config, ())
    return config


def identify(directory: Path) -> ModelIdentity:
    """Read a model's directory and hash the files of it that are part of a base (see ``source_files``).

    Raises:
        InvalidModel: a file that a causal language model needs is missing or wrong; the message names it.
    """
    files = tuple(
        StoredFile(path=name, size=(directory / name).stat().st_size, sha256=file_sha256(directory / name))
        for name in filter(wanted, files_below(directory))
    )
    config = check_configuration(directory)
    tensors = _tensors(directory)
    _check_quantization(config, tensors)
    paths = LayerPaths.find(tensors, config.architecture, wrapped=config.wrapped)
    has_head = any(paths.module(name) in HEADS for name in tensors)
    tied = config.tie_word_embeddings
    if tied is None:
        tied = not has_head
    weights = [[file.path, file.sha256] for file in files if file.path.endswith(".safetensors")]
    return ModelIdentity(
        fingerprint=_fingerprint(directory, config, tensors, files, paths=paths, tied=tied),
        weights_digest=digest_of(weights),
        linear_modules=_linear_modules(tensors, paths, tied=tied),
        parameters=_parameters(tensors, paths, tied=tied),
        files=files,
    )


def _fingerprint(
    directory: Path,
    config: ModelConfig,
    tensors: Mapping[str, TensorInfo],
    files: Sequence[StoredFile],
    *,
    paths: LayerPaths,
    tied: bool,
) -> Fingerprint:
    return Fingerprint(
        architecture=config.architecture,
        hidden_size=config.integer("hidden_size"),
        intermediate_size=config.optional_integer("intermediate_size"),
        layers=config.optional_integer("num_hidden_layers") or paths.blocks(tensors),
        attention_heads=config.integer("num_attention_heads"),
        key_value_heads=config.key_value_heads,
        head_dim=config.head_dim,
        vocab_size=config.integer("vocab_size"),
        tie_word_embeddings=tied,
        max_positions=config.optional_integer("max_position_embeddings"),
        rope=config.rope,
        quantization=config.quantization,
        dtype=config.dtype or _stored_dtype(tensors),
        tokenizer_digest=_tokenizer_digest(directory, files),
        chat_template_digest=chat_template_digest(directory, wrapped=config.wrapped),
        shapes_digest=digest_of({name: list(tensor.shape) for name, tensor in tensors.items()}),
        behaviour_digest=digest_of({"config": config.behaviour(), "generation": generation_behaviour(directory)}),
    )


def _check_quantization(config: ModelConfig, tensors: Iterable[str]) -> None:
    """Refuse weights that are packed in a way that nothing can be trained on, by its name."""
    method = str((config.quantization or {}).get("quant_method", "")).lower()
    packed = next((name for name in tensors if name.rpartition(".")[2] in _PACKED), None)
    if method in _QUANTIZED or packed is not None:
        kind = _QUANTIZED.get(method, method or "unknown")
        where = f" ({packed})" if packed else ""
        raise InvalidModel(
            f"config.json: the weights are quantized by {kind}{where}, which adapters can't be trained on; give the "
            "full-precision model that they were made from, and let method QLoRA or the engine quantize it"
        )


def _tensors(directory: Path) -> dict[str, TensorInfo]:
    """Read the headers of all weight files."""
    paths = [path for path in sorted(directory.glob("*.safetensors")) if wanted(path.name)]
    if not paths:
        raise InvalidModel("no *.safetensors file; convert the weights, pickled ones (*.bin, *.pt) are never loaded")
    tensors: dict[str, TensorInfo] = {}
    for path in paths:
        try:
            header = read_header(path)
        except InvalidModel as error:
            raise InvalidModel(f"{path.name}: {error}") from error
        for tensor in header.tensors:
            if tensor.name in tensors:
                raise InvalidModel(f"{path.name}: {tensor.name} is in another file, too; keep one copy of the weights")
            tensors[tensor.name] = tensor
    _check_against_index(directory, tensors)
    return tensors


def _check_against_index(directory: Path, tensors: Mapping[str, TensorInfo]) -> None:
    """Check that no shard is missing, where the model has an index of them."""
    name = "model.safetensors.index.json"
    if not (directory / name).is_file():
        return
    weight_map = read_json(directory / name).get("weight_map")
    if not isinstance(weight_map, dict):
        raise InvalidModel(f"{name}: weight_map is missing")
    absent = next((tensor for tensor in weight_map if tensor not in tensors), None)
    if absent is not None:
        raise InvalidModel(f"{name}: {absent} should be in {weight_map[absent]}, but no file has it")


def _linear_modules(tensors: Mapping[str, TensorInfo], paths: LayerPaths, *, tied: bool) -> dict[str, tuple[int, int]]:
    modules = {}
    embedding = None
    for name, tensor in sorted(tensors.items()):
        module = paths.module(name)
        if module is None or len(tensor.shape) != 2:
            continue
        if tensor.dtype not in _FLOATING_DTYPES:
            raise InvalidModel(f"{name} is packed as {tensor.dtype}; give the full-precision weights instead")
        swapped = paths.transposed and is_in_block(module)
        modules[module] = (tensor.shape[1], tensor.shape[0]) if swapped else (tensor.shape[0], tensor.shape[1])
        if not is_in_block(module) and module not in HEADS:
            embedding = module
    if tied and embedding is not None:
        modules[HEAD] = modules[embedding]
    return modules


def _parameters(tensors: Mapping[str, TensorInfo], paths: LayerPaths, *, tied: bool) -> int:
    """Count parameters; a tied output layer that is stored as well counts once, and MXFP4 by its values."""
    blocks = {name.removesuffix(_FOUR_BIT_BLOCKS) for name in tensors if name.endswith(_FOUR_BIT_BLOCKS)}
    total = 0
    for name, tensor in tensors.items():
        if (tied and paths.module(name) in HEADS) or name.removesuffix("_scales") in blocks:
            continue
        total += math.prod(tensor.shape) * (2 if name.endswith(_FOUR_BIT_BLOCKS) else 1)
    return total


def _stored_dtype(tensors: Mapping[str, TensorInfo]) -> str:
    dtype = next(iter(tensors.values())).dtype if tensors else ""
    return _DTYPE_NAMES.get(dtype, dtype)


def _tokenizer_digest(directory: Path, files: Sequence[StoredFile]) -> str:
    """Hash the tokenizer's files. The chat template, which may sit in its config, has a digest of its own."""
    parts: list[list[str]] = [[file.path, file.sha256] for file in files if file.path in _TOKENIZER_FILES]
    if not parts:
        raise InvalidModel(f"no tokenizer; expected one of {', '.join(_TOKENIZER_FILES)}")
    config = _tokenizer_config(directory)
    config.pop("chat_template", None)
    return digest_of([*parts, [_TOKENIZER_CONFIG, digest_of(config)]])


def _tokenizer_config(directory: Path) -> dict[str, Any]:
    path = directory / _TOKENIZER_CONFIG
    return read_json(path) if path.is_file() else {}
