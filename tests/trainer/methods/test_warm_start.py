"""A base that was trained a little further: an adapter goes on from its old weights, in a fraction of the steps."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import Pod

from graft_registry.digests import digest_of
from graft_registry.documents import BaseManifest, WarmStart
from graft_registry.models.fingerprint import identify

DRIFT = 0.1
"""Relative change of each weight matrix: that of a base that was trained a little further."""
WARM_STEPS = 10


@pytest.fixture(scope="module")
def moved_base(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy base with every weight matrix moved."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("moved") / "base"
    shutil.copytree(base, folder)
    generator = torch.Generator().manual_seed(1)
    weights = load_file(folder / "model.safetensors")
    for name, matrix in weights.items():
        if matrix.dim() == 2:
            noise = torch.randn(matrix.shape, generator=generator)
            weights[name] = matrix + DRIFT * matrix.norm() * noise / noise.norm()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    manifest, identity = BaseManifest.from_bytes((folder / ".graft" / "base.json").read_bytes()), identify(folder)
    moved = {"weightsDigest": identity.weights_digest, "digest": identity.digest}
    files = {"files": [file.to_dict() for file in identity.files]}
    (folder / ".graft" / "base.json").write_text(json.dumps(manifest.to_dict() | moved | files))
    return folder


@pytest.fixture
def readapted(new_pod: Callable[[str], Pod], trained_pod: Pod, moved_base: Path, tmp_path: Path) -> Callable[..., Pod]:
    """Make a run of the trained adapter on the base that has moved."""

    def make(name: str, **changes: Any) -> Pod:
        pod = new_pod(name)
        digest = json.loads((moved_base / ".graft" / "base.json").read_text())["digest"]
        pod.config |= {
            "adapter": trained_pod.config["adapter"],
            "recipe": digest_of(name),
            "reason": "BaseModelChanged",
            "parent": 1,
            "base": {"name": "toy", "digest": digest, "path": str(moved_base)},
        }
        pod.config |= changes
        pod.config["training"] |= {"maxSteps": WARM_STEPS, "learningRate": "2.5e-3"}
        return pod

    return make


@pytest.fixture
def start(trained_pod: Pod) -> dict[str, Any]:
    """The version of the trained adapter, as the operator names it in a run document."""
    stored = trained_pod.version()
    return {"number": stored.manifest.number, "manifestDigest": stored.digest}


def test_a_warm_start_learns_in_a_few_steps_what_a_cold_one_does_not(
    readapted: Callable[..., Pod], start: dict[str, Any]
) -> None:
    warm, cold = readapted("warm", warmStart=start), readapted("cold")
    assert (warm.run(), cold.run()) == (0, 0)
    ours, theirs = warm.version().manifest, cold.version().manifest
    assert (ours.warm_start, ours.parent) == (WarmStart.model_validate(start), start["number"])
    assert theirs.warm_start is None
    assert ours.metrics.eval_loss is not None
    assert theirs.metrics.eval_loss is not None
    assert ours.metrics.eval_loss < theirs.metrics.eval_loss / 2
    assert ours.hyperparameters["training"]["maxSteps"] == WARM_STEPS


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        pytest.param({}, "InvalidConfig", "cannot begin with version 7: ", id="a version that is gone"),
        pytest.param(
            {"lora": {"rank": 4}},
            "BaseMismatch",
            r"lora_A.weight is \[8, 128\], this base asks for \[4, 128\]",
            id="another rank",
        ),
        pytest.param(
            {"lora": {"targetModules": ["q_proj"]}},
            "BaseMismatch",
            "for which this base has no place",
            id="fewer layers",
        ),
    ],
)
def test_a_version_that_cannot_be_begun_with_is_refused(
    readapted: Callable[..., Pod], start: dict[str, Any], changes: dict[str, Any], reason: str, message: str
) -> None:
    pod = readapted(message, warmStart=start if changes else start | {"number": 7})
    pod.config["lora"] |= changes.get("lora", {})
    assert pod.run() in (64, 66)
    told = pod.termination()
    assert told["reason"] == reason
    assert re.search(message, told["message"])
    assert "readaptation.strategy of the BaseModel" in told["message"]
