"""Training state survives safetensors and JSON bit for bit, and nothing else gets in."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graft_trainer.training.state_tree import TENSORS_FILE, TREE_FILE, load_tree, save_tree


def round_trip(tree: Any, folder: Path) -> Any:
    save_tree(tree, folder)
    return load_tree(folder)


def test_the_state_of_an_optimizer_and_its_schedule(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    weight.grad = torch.randn(3, 2)
    optimizer.step()
    schedule.step()

    tree = round_trip({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, tmp_path)

    other = torch.optim.AdamW([torch.nn.Parameter(weight.detach().clone())], lr=1.0)
    other.load_state_dict(tree["optimizer"])
    restored, original = other.state_dict(), optimizer.state_dict()
    assert restored["param_groups"] == original["param_groups"]
    assert restored["state"].keys() == original["state"].keys() == {0}
    for name, tensor in original["state"][0].items():
        assert torch.equal(restored["state"][0][name], tensor)
    assert tree["schedule"] == schedule.state_dict()


def test_the_state_of_random_generators(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    tree = round_trip(state, tmp_path)
    assert tree["python"] == state["python"]
    assert tree["numpy"][0] == "MT19937"
    assert np.array_equal(tree["numpy"][1], state["numpy"][1])
    assert tree["numpy"][1].dtype == np.uint32
    assert tree["numpy"][2:] == state["numpy"][2:]
    assert torch.equal(tree["torch"], state["torch"])


@pytest.mark.parametrize(
    "tree",
    [
        None,
        {},
        {"$tensor": "a key of one's own"},
        {1: "one", "1": "another one"},
        ("a", ("b", [1, 2.5, True, None])),
        0.1 + 0.2,
    ],
)
def test_plain_values_keep_their_types(tmp_path: Path, tree: Any) -> None:
    assert round_trip(tree, tmp_path) == tree


def test_tensors_keep_type_and_shape(tmp_path: Path) -> None:
    tensors = {"bf16": torch.ones(2, dtype=torch.bfloat16), "scalar": torch.tensor(3.0), "u8": torch.arange(4).byte()}
    tree = round_trip(tensors, tmp_path)
    for name, tensor in tensors.items():
        assert tree[name].dtype == tensor.dtype
        assert torch.equal(tree[name], tensor)


def test_what_has_no_spelling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="/a/0 holds a object"):
        save_tree({"a": [object()]}, tmp_path)


@pytest.mark.parametrize("document", [{"$call": "os.system"}, {"$tensor": "a", "more": 1}, {"$tensor": 1}])
def test_unknown_marks_are_refused(tmp_path: Path, document: Any) -> None:
    save_tree({}, tmp_path)
    (tmp_path / TREE_FILE).write_text(json.dumps(document))
    with pytest.raises(ValueError, match="unknown mark"):
        load_tree(tmp_path)


@pytest.mark.parametrize("name", [TREE_FILE, TENSORS_FILE])
def test_a_pickle_under_the_name_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    save_tree({}, tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(Exception, match=r"(?i)codec|header|json"):
        load_tree(tmp_path)
