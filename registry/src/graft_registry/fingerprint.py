"""What a directory with a Hugging Face model is: its weights, its shapes, its tokenizer, its chat template."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from graft_registry.digests import digest_of, file_sha256, sha256_digest
from graft_registry.documents import Fingerprint, StoredFile
from graft_registry.documents.base import base_digest
from graft_registry.errors import InvalidModel
from graft_registry.model_config import ModelConfig, read_json
from graft_registry.safetensors_header import TensorInfo, read_header
from graft_registry.source_files import wanted

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
_CHAT_TEMPLATE: Final = "chat_template.jinja"
_FLOATING_DTYPES: Final = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_DTYPE_NAMES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_EMBEDDING: Final = "model.embed_tokens"
_OUTPUT: Final = "lm_head"


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


def identify(directory: Path) -> ModelIdentity:
    """Read a model's directory and hash the files of it that are part of a base (see ``source_files``).

    Raises:
        InvalidModel: a file that a causal language model needs is missing or wrong; the message names it.
    """
    files = tuple(
        StoredFile(path=path.name, size=path.stat().st_size, sha256=file_sha256(path))
        for path in sorted(directory.iterdir())
        if path.is_file() and wanted(path.name)
    )
    config = ModelConfig.read(directory)
    tensors = _tensors(directory)
    tied = config.tie_word_embeddings
    if tied is None:
        tied = f"{_OUTPUT}.weight" not in tensors
    weights = [[file.path, file.sha256] for file in files if file.path.endswith(".safetensors")]
    return ModelIdentity(
        fingerprint=_fingerprint(directory, config, tensors, files, tied=tied),
        weights_digest=digest_of(weights),
        linear_modules=_linear_modules(tensors, tied=tied),
        parameters=_parameters(tensors, tied=tied),
        files=files,
    )


def _fingerprint(
    directory: Path,
    config: ModelConfig,
    tensors: Mapping[str, TensorInfo],
    files: Sequence[StoredFile],
    *,
    tied: bool,
) -> Fingerprint:
    return Fingerprint(
        architecture=config.architecture,
        hidden_size=config.integer("hidden_size"),
        intermediate_size=config.optional_integer("intermediate_size"),
        layers=config.integer("num_hidden_layers"),
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
        chat_template_digest=_chat_template_digest(directory),
        shapes_digest=digest_of({name: list(tensor.shape) for name, tensor in tensors.items()}),
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


def _linear_modules(tensors: Mapping[str, TensorInfo], *, tied: bool) -> dict[str, tuple[int, int]]:
    modules = {}
    for name, tensor in sorted(tensors.items()):
        module = name.removesuffix(".weight")
        adaptable = module.startswith("model.layers.") or module in (_EMBEDDING, _OUTPUT)
        if module == name or not adaptable or len(tensor.shape) != 2:
            continue
        if tensor.dtype not in _FLOATING_DTYPES:
            raise InvalidModel(f"{name} is packed as {tensor.dtype}; give the full-precision weights instead")
        modules[module] = (tensor.shape[0], tensor.shape[1])
    if tied and _EMBEDDING in modules:
        modules[_OUTPUT] = modules[_EMBEDDING]
    if not modules:
        raise InvalidModel("no linear layer below model.layers; only causal language models can be adapted")
    return modules


def _parameters(tensors: Mapping[str, TensorInfo], *, tied: bool) -> int:
    """Count parameters; a tied output layer that is stored as well counts once."""
    return sum(
        math.prod(tensor.shape) for name, tensor in tensors.items() if not (tied and name == f"{_OUTPUT}.weight")
    )


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


def _chat_template_digest(directory: Path) -> str | None:
    path = directory / _CHAT_TEMPLATE
    if path.is_file():
        return sha256_digest(path.read_bytes())
    template = _tokenizer_config(directory).get("chat_template")
    if template is None:
        return None
    return sha256_digest(template.encode()) if isinstance(template, str) else digest_of(template)


def _tokenizer_config(directory: Path) -> dict[str, Any]:
    path = directory / _TOKENIZER_CONFIG
    return read_json(path) if path.is_file() else {}
