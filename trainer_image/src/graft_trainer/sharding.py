"""Sharding of the frozen weights over the workers (FSDP2), for bases that no single GPU holds."""

from __future__ import annotations

import torch
from peft import PeftModel, get_peft_model_state_dict
from torch.distributed.tensor import DTensor


def adapter_weights(model: PeftModel) -> dict[str, torch.Tensor]:
    """Return the adapter's weights, whole. Where they are sharded, every worker has to call this at the same point."""
    return {name: _whole(tensor).contiguous() for name, tensor in get_peft_model_state_dict(model).items()}


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor
