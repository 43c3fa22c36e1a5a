"""What only a CUDA GPU can show: `make test-gpu`. Elsewhere these tests are deselected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.trainer.conftest import Pod

pytestmark = pytest.mark.gpu

METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "LoRA in bfloat16": ({"method": "LoRA"}, "bfloat16"),
    "QLoRA: NF4 weights, and an optimizer whose state is paged out": ({"method": "QLoRA"}, "nf4"),
}


@pytest.mark.parametrize(("change", "trained_on"), METHODS.values(), ids=METHODS)
def test_a_gpu_learns_the_task(pod: Pod, change: dict[str, Any], trained_on: str) -> None:
    pod.config |= change
    pod.config["training"]["precision"] = "BFloat16"
    assert pod.run() == 0
    manifest = pod.version().manifest
    assert manifest.trained_on == trained_on
    assert manifest.metrics.exact_match is not None
    assert manifest.metrics.exact_match >= 0.75
    assert manifest.golden


def test_the_optimizer_beside_nf4_is_paged() -> None:
    from graft_trainer.methods.table import METHODS
    from graft_trainer.training.optimizer import optimizer_name

    assert optimizer_name(METHODS["QLoRA"]) == "paged_adamw_8bit"


def test_attention_is_fused(pod: Pod) -> None:
    import torch

    from graft_trainer.model import load_base

    base = load_base(pod.config["base"]["path"], dtype=torch.bfloat16)
    assert base.config._attn_implementation == "sdpa"
    query = torch.randn(1, 2, 64, 32, dtype=torch.bfloat16, device="cuda")
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)


def test_gradient_checkpointing_needs_less_memory(new_pod: Callable[[str], Pod]) -> None:
    import torch

    def peak(*, checkpointing: bool) -> int:
        pod = new_pod(f"checkpointing {checkpointing}")
        pod.config["training"] |= {"gradientCheckpointing": checkpointing, "maxSteps": 4, "batchSize": 32}
        torch.cuda.reset_peak_memory_stats()
        assert pod.run() == 0
        bytes_ = pod.version().manifest.metrics.peak_memory_bytes
        assert bytes_ is not None
        return bytes_

    assert peak(checkpointing=True) < peak(checkpointing=False)


@pytest.mark.parametrize("method", ["LoRA", "QLoRA"])
@pytest.mark.parametrize("sharding", ["None", "FSDP"])
def test_all_gpus_train_together(pod: Pod, method: str, sharding: str) -> None:
    import torch

    pod.config["method"] = method
    pod.config["training"]["precision"] = "BFloat16"
    pod.config["workers"] = {"nodes": 1, "processesPerNode": torch.cuda.device_count(), "sharding": sharding}
    assert pod.start().wait() == 0
    assert pod.version().manifest.metrics.exact_match == pytest.approx(1.0, abs=0.3)
