"""The shape of a base, as far as the memory of a training depends on it."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from graft_operator.api.meta import StatusModel
from graft_registry.models.training_memory import LinearLayers, ModelShape

LAYER_NAMES_KEPT: Final = 64
"""Names of linear layers on status; a transformer's block has seven to twenty."""


class NamedLinearLayers(StatusModel):
    """All linear layers of one name, in all blocks together."""

    name: str
    """Last part of the layers' paths, such as ``q_proj``."""
    inputs: int
    """Input features."""
    outputs: int
    """Output features."""
    weights: int
    """Weights, that is inputs × outputs of each layer."""


class BaseShape(StatusModel):
    """The dimensions of the base."""

    hidden_size: int
    """Features of a token between the blocks."""
    attention_size: int
    """Attention heads × features of a head."""
    intermediate_size: int
    """Features inside of the MLP."""
    layers: int
    """Blocks."""
    vocab_size: int
    """Tokens of the vocabulary."""
    linear_layers: tuple[NamedLinearLayers, ...] = Field(default=(), max_length=LAYER_NAMES_KEPT)
    """The linear layers of the blocks, by name."""

    @classmethod
    def of(cls, shape: ModelShape) -> BaseShape:
        """Return the status entry of a shape."""
        named = [
            NamedLinearLayers(name=name, inputs=layers.inputs, outputs=layers.outputs, weights=layers.weights)
            for name, layers in sorted(shape.linear.items())
        ]
        return cls(
            hidden_size=shape.hidden_size,
            attention_size=shape.attention_size,
            intermediate_size=shape.intermediate_size,
            layers=shape.layers,
            vocab_size=shape.vocab_size,
            linear_layers=tuple(named[:LAYER_NAMES_KEPT]),
        )

    def with_parameters(self, parameters: int) -> ModelShape:
        """Return the shape of a base with so many parameters, for estimates."""
        return ModelShape(
            parameters=parameters,
            hidden_size=self.hidden_size,
            attention_size=self.attention_size,
            intermediate_size=self.intermediate_size,
            layers=self.layers,
            vocab_size=self.vocab_size,
            linear={
                item.name: LinearLayers(inputs=item.inputs, outputs=item.outputs, weights=item.weights)
                for item in self.linear_layers
            },
        )
