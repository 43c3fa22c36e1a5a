"""The engine's container: an unmodified vLLM on loopback, told everything by arguments."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.base_model import BaseModel, ServingRevision
from graft_operator.api.base_serving import ROLLOUT_HEADROOM
from graft_operator.manifests import naming
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import BASE_DIR, COMPILER_CACHE, base_mounts, container, scratch, variable

ENGINE: Final = "engine"
"""Name of the container."""

ENGINE_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM accepts for ``--max-lora-rank`` (vllm/config/lora.py, 0.32)."""


def engine_rank(max_rank: int) -> int:
    """Return the smallest rank that vLLM accepts and that is not below ``max_rank``."""
    return next(rank for rank in ENGINE_RANKS if rank >= max_rank)


def engine_arguments(base: BaseModel, platform: Platform) -> list[str]:
    """Return vLLM's arguments for a base with adapters."""
    serving = base.spec.serving
    return [
        *model_arguments(BASE_DIR, base.metadata.name),
        "--enable-lora",
        f"--max-loras={serving.max_active_adapters}",
        f"--max-cpu-loras={serving.max_loaded_adapters + ROLLOUT_HEADROOM}",
        f"--max-lora-rank={engine_rank(serving.max_rank)}",
        *chosen_arguments(base, platform),
    ]


def model_arguments(path: str, name: str) -> list[str]:
    """Return the arguments for what is served. On loopback only: the engine's admin routes have no authentication."""
    return [f"--model={path}", f"--served-model-name={name}", "--host=127.0.0.1", f"--port={naming.ENGINE_PORT}"]


def chosen_arguments(base: BaseModel, platform: Platform) -> list[str]:
    """Return the arguments that the platform and the user of the base have chosen, for every engine of the base."""
    serving = base.spec.serving
    length = [f"--max-model-len={serving.max_model_length}"] if serving.max_model_length else []
    return [*length, *tracing_arguments(platform), *platform.engine_args, *serving.engine_args]


def tracing_arguments(platform: Platform) -> list[str]:
    """Return what has the engine send its spans, if it is to."""
    told = platform.tracing
    return [f"--otlp-traces-endpoint={told.otlp_endpoint.rstrip('/')}/v1/traces"] if told and told.engine else []


def tracing_environment(platform: Platform) -> dict[str, str]:
    """Return by what the engine's spans are sent, and under which name; vLLM's own default is gRPC."""
    if platform.tracing is None or not platform.tracing.engine:
        return {}
    return {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_SERVICE_NAME": "graft-engine"}


def engine_process(base: BaseModel, platform: Platform, arguments: list[str], **environment: str) -> dict[str, Any]:
    """Return what a container needs to run the base's engine with these arguments."""
    fixed = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", **tracing_environment(platform)}
    variables = {**environment, **fixed, **platform.engine_env}
    return {
        "image": base.spec.serving.image or platform.engine_image,
        "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
        "args": arguments,
        "env": [COMPILER_CACHE, *(variable(name, value) for name, value in variables.items())],
        "resources": base.spec.serving.resources.to_wire(),
    }


def engine_container(base: BaseModel, revision: ServingRevision, platform: Platform) -> dict[str, Any]:
    """Return the engine of a base, which loads adapters beside it."""
    mounts = [*base_mounts(revision), {"name": "adapters", "mountPath": "/adapters", "readOnly": True}]
    process = engine_process(base, platform, engine_arguments(base, platform), VLLM_ALLOW_RUNTIME_LORA_UPDATING="True")
    return engine_sidecar(platform, process, mounts)


def engine_sidecar(platform: Platform, process: dict[str, Any], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the engine as a sidecar (KEP-753): it starts before the agent and ends after it."""
    shared_memory = {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 - vLLM's workers share memory
    engine = container(
        ENGINE, platform=platform, **process, restartPolicy="Always", volumeMounts=[*mounts, shared_memory]
    )
    own_tmp = {"name": "engine-tmp", "mountPath": "/tmp"}  # noqa: S108 - sockets of the engine are none of the agent's
    engine["volumeMounts"] = [own_tmp if mount["name"] == "tmp" else mount for mount in engine["volumeMounts"]]
    return engine


def engine_volumes() -> list[dict[str, Any]]:
    """Return the scratch volumes of :func:`engine_sidecar`."""
    return [scratch("engine-tmp"), scratch("shm", medium="Memory", sizeLimit="2Gi")]
