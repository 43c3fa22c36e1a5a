"""The operator's configuration: environment variables → one frozen object, read once at start."""

import os
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, ValidationError
from pydantic.alias_generators import to_camel

from graft_operator.manifests.platform import ContainerResources
from graft_operator.manifests.tenant_pods import TenantPods
from graft_registry.config import RegistryConfig

PREFIX = "GRAFT_"


class SettingsError(Exception):
    """The environment is not usable. The message names each variable at fault, and why."""


def _from_comma_separated(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _own_identity() -> str:
    # The suffix tells two lives of one pod apart: a restarted container must not think that it still leads.
    return f"{socket.gethostname()}_{uuid4().hex[:8]}"


NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Image = Annotated[str, Field(min_length=1, pattern=r"^\S+$")]


class NetworkPolicies(BaseModel):
    """Who may reach serving pods, besides the operator and, of their API, the pods of their own namespace."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    client_namespaces: tuple[NamespaceName, ...] = ()
    """Whose pods may ask the API; empty for everybody's."""
    monitoring_namespaces: tuple[NamespaceName, ...] = ()
    """Whose pods may read metrics."""


class Tracing(BaseModel):
    """Where spans are sent to."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")]
    """URL before `/v1/traces`, for OTLP over HTTP."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Part of the traces that begin here which is kept."""
    engine: bool = False
    """Whether engines send theirs, too; their image needs OpenTelemetry's packages."""


class Settings(BaseModel):
    """Each field comes from the variable `GRAFT_<FIELD>`; an empty variable counts as unset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    watch_namespaces: Annotated[tuple[NamespaceName, ...], BeforeValidator(_from_comma_separated)] = ()
    """Comma-separated names; empty means all namespaces."""
    workers: Annotated[int, Field(ge=1, le=64)] = 16
    """Objects reconciled at the same time. A pass mostly waits for the API server: with 4, new adapters waited for a
    free worker while the operator used a third of one core."""
    resync_seconds: Annotated[float, Field(ge=10)] = 600.0

    log_format: Literal["console", "json"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    probe_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    adapter_metrics: bool = True
    """Whether /metrics has series of each adapter, about thirty."""
    gpu_second_price: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """What a second of a GPU costs, in any currency, told as a metric; 0 where nobody has said."""

    lease_namespace: Annotated[str, Field(min_length=1)]
    """The operator's own namespace."""
    lease_name: Annotated[str, Field(min_length=1)] = "graft-operator"
    identity: Annotated[str, Field(min_length=1)] = Field(default_factory=_own_identity)
    """Holder of the lease and reporter of events; unique per process."""

    registry: Json[RegistryConfig]
    """JSON, such as `{"endpoint": "http://minio:9000", "bucket": "graft"}`."""
    registry_secret_name: Annotated[str, Field(min_length=1)] = "graft-registry"  # noqa: S105 -- a name
    """Secret with S3 credentials in each tenant namespace, given to trainer, serving and import pods by `envFrom`."""

    trainer_image: Image
    agent_image: Image
    registry_image: Image
    """Holds `python -m graft_registry`: import and fetch of bases."""
    engine_image: Image
    """vLLM, unless a BaseModel names another."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    engine_args: Json[tuple[str, ...]] = ()
    """JSON list of arguments for every engine, before those of the BaseModel."""
    engine_env: Json[dict[str, str]] = Field(default_factory=dict)
    """JSON object with the environment of every engine."""
    network_policies: Json[NetworkPolicies] | None = None
    """JSON object, such as `{"monitoringNamespaces": ["monitoring"]}`: NetworkPolicies for serving pods. Without it
    none are made."""
    tenant_pods: Json[TenantPods] = TenantPods()
    """JSON object with what every pod in tenants' namespaces gets: `{"imagePullSecrets": [{"name": "pull"}]}`."""
    tracing: Json[Tracing] | None = None
    """JSON object, such as `{"otlpEndpoint": "http://collector:4318"}`. Without it nothing is traced."""
    resources: Json[dict[Literal["fetch", "agent", "import", "test"], ContainerResources]] = Field(default_factory=dict)
    """JSON object with the requests and limits of Graft's own containers in tenants' pods, where they are to be others
    than the defaults: `{"agent": {"limits": {"cpu": "4", "memory": "2Gi"}}}`."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read and check the variables. Raises SettingsError."""
        given = {name: environ.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in given.items() if value})
        except ValidationError as error:
            raise SettingsError("; ".join(_complaint(detail) for detail in error.errors())) from None


def _complaint(detail: Any) -> str:
    field, *inner = (str(part) for part in detail["loc"])
    where = f"{PREFIX}{field.upper()}" + (f" ({'.'.join(inner)})" if inner else "")
    if detail["type"] == "missing" and not inner:
        return f"{where} is not set"
    return f"{where}: {detail['msg']}"
