"""What the platform team decides once for every pod that we create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graft_operator.manifests.tenant_pods import TenantPods

ContainerResources = Mapping[str, Mapping[str, str]]
"""``requests`` and ``limits`` of a container, as Kubernetes writes them."""


def _resources(cpu: str, memory: str, most_cpu: str, most_memory: str) -> ContainerResources:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": most_cpu, "memory": most_memory}}


FETCH_RESOURCES: Final = _resources("100m", "128Mi", "2", "1Gi")
AGENT_RESOURCES: Final = _resources("100m", "96Mi", "2", "1Gi")
IMPORT_RESOURCES: Final = _resources("100m", "256Mi", "2", "4Gi")
TEST_RESOURCES: Final = _resources("100m", "96Mi", "1", "512Mi")
"""Requests are what they need at rest, so that small nodes take them. Limits are far above what was ever measured: they
are there since a namespace with a quota on limits takes no pod with a container that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAccess:
    """Who may reach serving pods over the network."""

    operator_namespace: str
    client_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may ask, besides the tenant's own; empty where everybody may."""
    monitoring_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may read metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Where serving pods send spans to."""

    otlp_endpoint: str
    """URL before ``/v1/traces``."""
    sample_ratio: float = 1.0
    """Part of the traces that begin at an agent which is kept."""
    engine: bool = False
    """Whether engines send theirs, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Images, registry and defaults; it comes from the operator's settings."""

    trainer_image: str
    agent_image: str
    registry_image: str
    engine_image: str
    image_pull_policy: str = "IfNotPresent"
    registry: Mapping[str, Any]
    """The registry's configuration as JSON: endpoint, bucket, prefix, region, forcePathStyle."""
    registry_secret_name: str = "graft-registry"  # noqa: S105 - the name of a Secret, not one
    """Secret in the tenant's namespace whose keys become the pods' environment."""
    engine_args: tuple[str, ...] = ()
    """Arguments of every engine, before those of the BaseModel."""
    engine_env: Mapping[str, str] = field(default_factory=dict)
    """Environment of every engine."""
    tenant_pods: TenantPods = field(default_factory=TenantPods)
    """What holds for all pods."""
    network_access: NetworkAccess | None = None
    """What NetworkPolicies allow; None makes none."""
    tracing: Tracing | None = None
    """Where spans go; None makes none."""
    fetch_resources: ContainerResources = field(default_factory=lambda: FETCH_RESOURCES)
    """Of the init containers that bring a base, or a version, from the registry."""
    agent_resources: ContainerResources = field(default_factory=lambda: AGENT_RESOURCES)
    """Of the agent beside an engine."""
    import_resources: ContainerResources = field(default_factory=lambda: IMPORT_RESOURCES)
    """Of the container that imports a base and measures how far it is from the one before."""
    test_resources: ContainerResources = field(default_factory=lambda: TEST_RESOURCES)
    """Of the client that tests how many adapters can be asked at once."""
