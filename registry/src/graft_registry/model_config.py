"""A model's ``config.json``, in the spelling of transformers 5 and in those before it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

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


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Typed access to the fields that a fingerprint needs. Every accessor raises InvalidModel and names the field."""

    fields: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read ``config.json`` of a model's directory."""
        path = directory / "config.json"
        if (directory / "adapter_config.json").exists():
            raise InvalidModel("adapter_config.json: this is an adapter, not a base model")
        if not path.is_file():
            raise InvalidModel("config.json is missing")
        return cls(read_json(path))

    def integer(self, name: str) -> int:
        """Return a positive integer that must be there."""
        value = self.optional_integer(name)
        if value is None:
            raise InvalidModel(f"config.json: {name} is missing")
        return value

    def optional_integer(self, name: str) -> int | None:
        """Return a positive integer, None if it isn't there."""
        value = self.fields.get(name)
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
        return names[0]

    @property
    def key_value_heads(self) -> int:
        """As many as attention heads unless stated (multi-head attention)."""
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


def _plain_number(value: Any) -> Any:
    """Spell 10000 and 10000.0 alike: both are written for the same model by different tools."""
    return float(value) if type(value) is int else value
