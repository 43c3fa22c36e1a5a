"""Whether and how a run extends its base's context."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.builders import base_manifest

from graft_trainer.methods.long_context import LongContext, long_context
from graft_trainer.outcome import InvalidConfigError

PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
DIVIDED_BY_TWO = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
LLAMA_3 = {"rope_type": "llama3", "factor": 8.0, "rope_theta": 500000.0}
BY_LAYER: dict[str, Any] = {"full_attention": PLAIN, "sliding_attention": PLAIN}


def found(rope: Any, length: int, *, method: str = "LongLoRA", positions: int | None = 4096) -> LongContext | None:
    manifest = base_manifest()
    fingerprint = manifest.fingerprint.model_copy(update={"rope": rope, "max_positions": positions})
    training = SimpleNamespace(max_sequence_length=length)
    config: Any = SimpleNamespace(method=method, training=training)
    return long_context(manifest.model_copy(update={"fingerprint": fingerprint}), config)


@pytest.mark.parametrize(
    ("rope", "length", "expected"),
    [
        pytest.param(PLAIN, 4096, None, id="a row as long as the base's context needs nothing"),
        pytest.param(PLAIN, 16384, (4.0, 4.0), id="four times the context divides positions by four"),
        pytest.param(PLAIN, 6144, (1.5, 1.5), id="nothing is divided more than it has to be"),
        pytest.param(DIVIDED_BY_TWO, 8192, None, id="a base whose context was extended is that long"),
        pytest.param(DIVIDED_BY_TWO, 16384, (4.0, 2.0), id="a base whose context was extended is extended further"),
        pytest.param(LLAMA_3, 4096, None, id="other positions are fine where nothing has to be extended"),
    ],
)
def test_the_context(rope: dict[str, Any], length: int, expected: tuple[float, float] | None) -> None:
    assert found(rope, length) == (None if expected is None else LongContext(factor=expected[0], stretch=expected[1]))


def test_other_methods_leave_the_context_alone() -> None:
    assert found(PLAIN, 16384, method="LoRA") is None


@pytest.mark.parametrize(
    ("rope", "positions", "says"),
    [
        (LLAMA_3, 4096, "8192 is beyond the 4096 tokens of base tiny.*llama3"),
        (BY_LAYER, 4096, "not others"),
        (None, 4096, "not others"),
        (PLAIN, None, "unknown context of base tiny"),
    ],
)
def test_what_cannot_be_extended_is_refused(rope: Any, positions: int | None, says: str) -> None:
    with pytest.raises(InvalidConfigError, match=says) as error:
        found(rope, 8192, positions=positions)
    assert error.value.field == "spec.training.maxSequenceLength"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"rope_parameters": PLAIN, "max_position_embeddings": 4096},
            {
                "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
                "max_position_embeddings": 4096,
            },
        ),
        (
            {"rope_scaling": None, "rope_theta": 10000.0},
            {"rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_theta": 10000.0},
        ),
    ],
    ids=["as Transformers 5 writes it", "as Transformers 4 wrote it"],
)
def test_a_configuration_keeps_its_own_names(before: dict[str, Any], after: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(before))
    LongContext(factor=4.0, stretch=4.0).write(path)
    assert json.loads(path.read_text()) == after
