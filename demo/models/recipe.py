"""The recipe of the demo's bases: their size and how long they are trained."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One stretch of pretraining, on documents in an order of the seed."""

    steps: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that the trained weights depend on; a change of any value trains anew.

    The head dimension, ``hidden_size / attention_heads``, is 32: the smallest that vLLM serves on a CPU.
    """

    revision: int = 2
    """To be raised when the documents or the training loop change."""

    vocabulary: int = 2048
    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 3
    attention_heads: int = 6
    key_value_heads: int = 3
    max_positions: int = 512
    sequence_length: int = 128
    batch_size: int = 16
    course: Course = Course(steps=500, learning_rate=3e-3, seed=1)
    further_course: Course = Course(steps=150, learning_rate=1e-3, seed=2)
    """What base-v2 learns on top of base-v1."""

    @property
    def digest(self) -> str:
        """A short name for the weights that this recipe gives."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
