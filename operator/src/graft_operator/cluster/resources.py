"""The kinds of objects that the operator reads or writes, as data."""

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of the Kubernetes API. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    view: str = ""
    """Tells kinds apart in the cache that are one to the API server, but watched in parts."""

    @property
    def group_version_path(self) -> str:
        """URL path of the document that lists the kinds of this group and version."""
        return f"/{'apis' if self.group else 'api'}/{self.api_version}"

    @property
    def api_version(self) -> str:
        """`apiVersion` of a manifest: `v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of an object, or of the collection when `name` is None.

        `namespace` None means all namespaces, or a kind that has none.
        """
        parts = [self.group_version_path]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


LORA_ADAPTERS: Final = Resource("graft.dev", "v1alpha1", "loraadapters", "LoraAdapter")
BASE_MODELS: Final = Resource("graft.dev", "v1alpha1", "basemodels", "BaseModel")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
PODS: Final = Resource("", "v1", "pods", "Pod")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
SERVICES: Final = Resource("", "v1", "services", "Service")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
POD_DISRUPTION_BUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
"""Made only where the operator is told to, and has the right to."""
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
INFERENCE_POOLS: Final = Resource("inference.networking.k8s.io", "v1", "inferencepools", "InferencePool")
"""Of the Gateway API inference extension: a cluster need not have it."""
WORKLOADS: Final = Resource("kueue.x-k8s.io", "v1beta2", "workloads", "Workload")
"""What Kueue makes of a Job in a queue, and says why it waits: a cluster need not have Kueue."""
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
USER_CONFIG_MAPS: Final = replace(CONFIG_MAPS, view="users")
"""ConfigMaps that are not ours: some hold rows."""
REFUSED_PODS: Final = replace(EVENTS, view="FailedCreate")
"""Why a Job can't make its pods: it says so by events alone."""
REFUSED_MOUNTS: Final = replace(EVENTS, view="FailedMount")
"""Why a pod waits for a volume: likewise."""
SCALE_UPS: Final = replace(EVENTS, view="TriggeredScaleUp")
"""That Cluster Autoscaler brings a node for a pod: likewise."""
NOMINATIONS: Final = replace(EVENTS, view="Nominated")
"""That Karpenter does."""
EVENTS_OF_PODS: Final = (REFUSED_MOUNTS, SCALE_UPS, NOMINATIONS)
