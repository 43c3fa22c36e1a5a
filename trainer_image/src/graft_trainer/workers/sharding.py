"""Shares the base's frozen weights out among the workers, for a base that no single GPU holds.

Each block of the model is gathered while it computes and let go after (torch's ``fully_shard``, stage 3 of ZeRO,
arXiv:1910.02054). The adapter is small and stays whole on every worker, where DDP averages its gradients as it does
without sharding, so that optimizer, checkpoints and results stay what they are.
"""

from __future__ import annotations

import torch
from peft import PeftModel
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from graft_trainer.methods.table import METHODS, MethodName
from graft_trainer.outcome import InvalidConfigError


def check_sharding(name: MethodName) -> None:
    """Raise InvalidConfigError for a method that trains weights of the base, or looks at them outside of a pass."""
    method = METHODS[name]
    if method.kind != "LoRA" or method.decomposed or method.long_context or method.initialization != "Random":
        field = "spec.pod.workers.sharding"
        raise InvalidConfigError(
            f"{field}: method {name} cannot shard its base; use LoRA or QLoRA, or None", field=field
        )


def shard_base(model: PeftModel, device: torch.device, *, workers: int) -> None:
    """Shard the blocks of the base over all workers, and bring everything else to the device.

    Embeddings, norms outside of blocks and the output layer are kept whole: they are tied in some models, and small
    beside the blocks of one that needs this. Quantized weights can only be sharded where ``bnb_4bit_quant_storage`` is
    a floating-point type, as `model.py` loads them then.
    """
    base = model.get_base_model()
    mesh = init_device_mesh(device.type, (workers,))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for module in list(base.modules()):
        if type(module).__name__ in base._no_split_modules:  # noqa: SLF001 - Transformers' own word for a block
            fully_shard(module, mesh=mesh, ignored_params=trained)
    whole = {parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(base, mesh=mesh, ignored_params=whole)
    for parameter in whole:
        parameter.data = parameter.data.to(device)
    sharded = [name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)]
    # The only way to tell DDP what somebody else takes care of, as its documentation says.
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, sharded)  # type: ignore[no-untyped-call] # noqa: SLF001
