"""How a base is served: the engine's pods, what they may hold, and who may ask them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.meta import ApiModel, Digest, ObjectName, SecretKeyReference, StatusModel
from graft_operator.api.pods import Annotations, PodSettings, Resources

EngineArgument = Annotated[str, StringConstraints(pattern=r"^--[a-z0-9][a-z0-9-]*(=.{0,512})?$", max_length=576)]

RESERVED_ENGINE_ARGUMENTS = frozenset(
    {
        "--model",
        "--served-model-name",
        "--host",
        "--port",
        "--uds",
        "--api-key",
        "--enable-lora",
        "--lora-modules",
        "--max-loras",
        "--max-cpu-loras",
        "--max-lora-rank",
        "--max-model-len",
        "--trust-remote-code",
        "--api-server-count",
        "--root-path",
        "--middleware",
        "--ssl-keyfile",
        "--ssl-certfile",
    }
)
"""Arguments that Graft sets itself, or that would open the engine to the outside."""

ROLLOUT_HEADROOM = 2
"""Versions that the engine can hold beyond ``maxLoadedAdapters``: so many adapters may roll out on a full base."""


class ConcurrencyTest(ApiModel):
    """How many requests are sent at once, and how much slower the base may become."""

    requests: int = Field(default=200, ge=10, le=100_000)
    """Requests of each of the three parts: to the base alone, to one adapter, to all adapters mixed."""
    concurrency: int = Field(default=16, ge=1, le=1024)
    """Requests under way at the same time."""
    max_tokens: int = Field(default=32, ge=1, le=4096)
    """Tokens of each answer; the engine does not end one earlier."""
    max_latency_percent: int = Field(default=300, ge=100, le=10_000)
    """Most that the 95th percentile of all adapters mixed may take, in percent of the base alone."""


class ConcurrencyResult(StatusModel):
    """What the last concurrency test has found."""

    digest: Digest
    """What was tested: base, engine, adapters and the test's own settings."""
    passed: bool
    """Whether nothing failed and the limit was kept."""
    message: str = ""
    """Throughput and latency of the three parts, or what failed."""
    completed_time: datetime | None = None
    """When it ended."""


class EndpointPickerReference(ApiModel):
    """The endpoint picker, which chooses the pod that answers a request."""

    name: ObjectName
    """Service of the endpoint picker, in the same namespace."""
    port: int = Field(default=9002, ge=1, le=65535)
    """Port of that Service, on which the picker speaks Envoy's external processing protocol."""
    failure_mode: Literal["FailOpen", "FailClose"] = "FailOpen"
    """What a Gateway does while the picker is away: with FailOpen it chooses a pod by itself, which does no harm since
    each answers for every adapter; with FailClose it refuses requests."""


class Gateway(ApiModel):
    """The way of Gateways to the serving pods."""

    endpoint_picker_ref: EndpointPickerReference | None = None
    """The endpoint picker. Without one a Gateway chooses pods by itself; releases of the extension before 1.6 refuse
    such an InferencePool."""


class BaseServing(PodSettings):
    """The engine that serves the base and all its adapters."""

    replicas: int = Field(default=1, ge=0, le=64)
    """Number of serving pods; each holds the base and all its adapters."""
    image: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Image of the engine (vLLM); the operator's default when empty."""
    resources: Resources = Resources()
    """Resources of the engine's container."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the same namespace for the serving pods, for workload identity; Graft's own when empty."""
    service_account_annotations: Annotations = Field(default_factory=dict)
    """Annotations of the ServiceAccount that Graft makes for the serving pods: ``eks.amazonaws.com/role-arn`` …"""
    max_loaded_adapters: int = Field(default=32, ge=2, le=1024)
    """Adapters that a pod serves: it holds so many versions in CPU memory, and two more for rollouts.

    An adapter beyond it waits, with the reason NoFreeSlot; one with residency OnDemand, with NotResident."""
    on_demand_idle_seconds: int = Field(default=60, ge=0, le=86_400)
    """How long nobody must have asked for a loaded OnDemand adapter before another one that is asked takes its place.

    Each change of places costs a load; with a low number and more adapters in use than places they change all the
    time."""
    max_active_adapters: int = Field(default=4, ge=1, le=256)
    """Adapters that one batch may mix (vLLM ``--max-loras``)."""
    max_rank: int = Field(default=64, ge=1, le=512)
    """Highest rank that is accepted; rounded up to a value that vLLM knows."""
    max_model_length: int | None = Field(default=None, ge=16, le=10_000_000)
    """Context length in tokens; the model's own when empty."""
    engine_args: tuple[EngineArgument, ...] = Field(default=(), max_length=64)
    """Further arguments of the engine, ``--name`` or ``--name=value``."""
    api_key_secret_ref: SecretKeyReference | None = None
    """Key of a Secret whose value holds the API keys that clients must send, one a line; without it nobody needs one.

    A changed Secret takes effect within a minute or two, without a restart."""

    concurrency_test: ConcurrencyTest | None = None
    """When set, requests go to all adapters at once whenever their set, the base or the engine changes."""
    gateway: Gateway | None = None
    """When set, Gateways reach the serving pods by an InferencePool, which is named as the base's Service."""

    @model_validator(mode="after")
    def _consistent(self) -> BaseServing:
        # argparse takes an unambiguous beginning for the whole name: --trust-remote is --trust-remote-code.
        taken = [
            arg
            for arg in self.engine_args
            if any(reserved.startswith(arg.partition("=")[0]) for reserved in RESERVED_ENGINE_ARGUMENTS)
        ]
        if taken:
            raise ValueError(f"engineArgs must not contain {taken[0]}: Graft sets it")
        if self.max_loaded_adapters < self.max_active_adapters:
            raise ValueError("maxLoadedAdapters must not be below maxActiveAdapters")
        return self
