"""The engine's container: an unmodified vLLM on loopback, told everything by arguments."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.base_model import BaseModel, ServingRevision
from graft_operator.api.base_serving import ROLLOUT_HEADROOM
from graft_operator.manifests import naming
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import BASE_DIR, base_mounts, container, variable

ENGINE_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM accepts for ``--max-lora-rank`` (vllm/config/lora.py, 0.32)."""


def engine_rank(max_rank: int) -> int:
    """Return the smallest rank that vLLM accepts and that is not below ``max_rank``."""
    return next(rank for rank in ENGINE_RANKS if rank >= max_rank)


def engine_arguments(base: BaseModel, platform: Platform) -> list[str]:
    """Return vLLM's arguments. It listens on loopback only: its admin routes have no authentication."""
    serving = base.spec.serving
    return [
        f"--model={BASE_DIR}",
        f"--served-model-name={base.metadata.name}",
        "--host=127.0.0.1",
        f"--port={naming.ENGINE_PORT}",
        "--enable-lora",
        f"--max-loras={serving.max_active_adapters}",
        f"--max-cpu-loras={serving.max_loaded_adapters + ROLLOUT_HEADROOM}",
        f"--max-lora-rank={engine_rank(serving.max_rank)}",
        *chosen_arguments(base, platform),
    ]


def chosen_arguments(base: BaseModel, platform: Platform) -> list[str]:
    """Return the arguments that the platform and the user of the base have chosen, for every engine of the base."""
    serving = base.spec.serving
    length = [f"--max-model-len={serving.max_model_length}"] if serving.max_model_length else []
    return [*length, *platform.engine_args, *serving.engine_args]


def engine_process(base: BaseModel, platform: Platform, arguments: list[str], **environment: str) -> dict[str, Any]:
    """Return what a container needs to run the base's engine with these arguments."""
    variables = {**environment, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", **platform.engine_env}
    return {
        "image": base.spec.serving.image or platform.engine_image,
        "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
        "args": arguments,
        "env": [variable(name, value) for name, value in variables.items()],
        "resources": base.spec.serving.resources.to_wire(),
    }


def engine_container(base: BaseModel, revision: ServingRevision, platform: Platform) -> dict[str, Any]:
    """Return the engine as a sidecar (KEP-753): it starts before the agent and ends after it."""
    arguments = engine_arguments(base, platform)
    engine = container(
        "engine",
        platform=platform,
        **engine_process(base, platform, arguments, VLLM_ALLOW_RUNTIME_LORA_UPDATING="True"),
        restartPolicy="Always",
        volumeMounts=[
            *base_mounts(revision),
            {"name": "adapters", "mountPath": "/adapters", "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - vLLM's workers share memory
        ],
    )
    own_tmp = {"name": "engine-tmp", "mountPath": "/tmp"}  # noqa: S108 - sockets of the engine are none of the agent's
    engine["volumeMounts"] = [own_tmp if mount["name"] == "tmp" else mount for mount in engine["volumeMounts"]]
    return engine
