"""A model's ``config.json``, in the spelling of transformers 5 and in those before it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from graft_registry.errors import InvalidModel


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidModel: not a JSON object; the message names the file.
    """
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidModel(f"{path.name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidModel(f"{path.name} is not a JSON object")
    return document


_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "hidden_size": ("n_embd", "d_model"),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size"),
    "num_hidden_layers": ("n_layer", "n_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_key_value_heads": ("num_kv_heads",),
    "max_position_embeddings": ("n_positions", "max_seq_len"),
}
"""What models that are older than these names call them (``attribute_map`` of their configurations)."""
_NO_CAUSAL_MODEL: Final = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Typed access to the fields that a fingerprint needs. Every accessor raises InvalidModel and names the field.

    Of a wrapped model (pictures or sound beside text) the fields are those of its language model.
    """

    fields: dict[str, Any]
    wrapped: bool = False
    """Whether the language model is a part of another one: ``text_config``."""

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read ``config.json`` of a model's directory."""
        path = directory / "config.json"
        if (directory / "adapter_config.json").exists():
            raise InvalidModel("adapter_config.json: this is an adapter, not a base model")
        if not path.is_file():
            raise InvalidModel("config.json is missing")
        fields = read_json(path)
        text = fields.get("text_config")
        if not isinstance(text, dict):
            return cls(fields)
        # What the wrapper says itself is of the whole: its class, how its weights are stored.
        own = {name: value for name, value in fields.items() if name != "text_config"}
        return cls({**text, **own, "model_type": text.get("model_type")}, wrapped=True)

    def integer(self, name: str) -> int:
        """Return a positive integer that must be there."""
        value = self.optional_integer(name)
        if value is None and name == "num_attention_heads" and "state_size" in self.fields:
            raise InvalidModel("config.json: a model without attention, which adapters are not served on")
        if value is None:
            raise InvalidModel(f"config.json: {name} is missing")
        return value

    def optional_integer(self, name: str) -> int | None:
        """Return a positive integer, None if it isn't there."""
        names = (name, *_OTHER_NAMES.get(name, ()))
        value = next((self.fields[other] for other in names if self.fields.get(other) is not None), None)
        if value is None:
            return None
        if type(value) is not int or value < 1:
            raise InvalidModel(f"config.json: {name} must be a positive integer, got {value!r}")
        return value

    @property
    def architecture(self) -> str:
        """The model's class, such as ``LlamaForCausalLM``."""
        names = self.fields.get("architectures")
        if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
            raise InvalidModel("config.json: architectures must name exactly one class")
        if names[0].endswith(_NO_CAUSAL_MODEL) or self.fields.get("is_encoder_decoder"):
            raise InvalidModel(
                f"config.json: {names[0]} does not write text token by token; only causal language models can be "
                "adapted, such as LlamaForCausalLM"
            )
        return names[0]

    @property
    def key_value_heads(self) -> int:
        """As many as attention heads unless stated (multi-head attention); one where ``multi_query`` says so."""
        if self.fields.get("multi_query") and not self.fields.get("new_decoder_architecture"):
            return 1
        return self.optional_integer("num_key_value_heads") or self.integer("num_attention_heads")

    @property
    def head_dim(self) -> int:
        """Hidden size over attention heads unless stated."""
        stated = self.optional_integer("head_dim")
        return stated or self.integer("hidden_size") // self.integer("num_attention_heads")

    @property
    def tie_word_embeddings(self) -> bool | None:
        """Whether the output layer is the embedding; None if it isn't stated (the defaults differ by family)."""
        value = self.fields.get("tie_word_embeddings")
        return None if value is None else bool(value)

    @property
    def dtype(self) -> str | None:
        """The weights' dtype in torch's name, such as ``bfloat16``."""
        value = self.fields.get("dtype", self.fields.get("torch_dtype"))
        return None if value is None else str(value).removeprefix("torch.")

    @property
    def quantization(self) -> dict[str, Any] | None:
        """How the stored weights are quantised."""
        return self._optional_object("quantization_config")

    def behaviour(self) -> dict[str, Any]:
        """Return every field that can decide what the model answers and has no place of its own in a fingerprint.

        Nulls are left out, and numbers are spelled alike, as tools differ in writing them.
        """
        return _without_noise(self.fields, _ELSEWHERE)

    @property
    def rope(self) -> dict[str, Any] | None:
        """Rotary position parameters as ``rope_parameters`` spells them: ``rope_type``, ``rope_theta`` and others."""
        parameters = self._optional_object("rope_parameters")
        if parameters is None:
            scaling = self._optional_object("rope_scaling") or {}
            parameters = {**scaling, "rope_theta": self.fields.get("rope_theta")}
            if parameters["rope_theta"] is None and not scaling:
                return None
            parameters.setdefault("rope_type", parameters.pop("type", "default"))
        parameters.pop("type", None)
        return {name: _plain_number(value) for name, value in parameters.items() if value is not None}

    def _optional_object(self, name: str) -> dict[str, Any] | None:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, dict):
            raise InvalidModel(f"config.json: {name} must be an object")
        return None if value is None else dict(value)


_NOISE: Final = frozenset({"transformers_version", "_name_or_path", "_commit_hash", "use_cache", "auto_map"})
_ELSEWHERE: Final = frozenset(
    {
        "architectures",
        "dtype",
        "torch_dtype",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "tie_word_embeddings",
        "max_position_embeddings",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "quantization_config",
    }
)
"""Fields of ``config.json`` that a fingerprint has a place for, in whatever spelling."""


def generation_behaviour(directory: Path) -> dict[str, Any]:
    """Return what ``generation_config.json`` of a model's directory asks servers to do, empty where there is none."""
    path = directory / "generation_config.json"
    return _without_noise(read_json(path), frozenset({"_from_model_config"})) if path.is_file() else {}


def _without_noise(fields: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    return {
        name: _without_noise(value, frozenset()) if isinstance(value, dict) else _plain_number(value)
        for name, value in fields.items()
        if value is not None and name not in left_out and name not in _NOISE
    }


def _plain_number(value: Any) -> Any:
    """Spell 10000 and 10000.0 alike: both are written for the same model by different tools."""
    return float(value) if type(value) is int else value
