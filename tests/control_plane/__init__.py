"""A real Kubernetes API server on a real etcd, without nodes and without controllers.

`etcd_and_api_server` starts both on the loopback interface below a temporary folder and ends them by their process
ids, as controller-runtime's envtest does. `ApiClient` is the little of a client that measurements and chaos runs need:
they must not share code with the operator that they judge. Kubelets, controllers and trainers: `tests.simulator`.
"""

from tests.control_plane.client import (
    ADAPTERS,
    BASES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    ApiClient,
    ApiError,
    Kind,
    until,
)
from tests.control_plane.processes import BINARIES, ControlPlane, etcd_and_api_server, write_kubeconfig

__all__ = [
    "ADAPTERS",
    "BASES",
    "BINARIES",
    "CONFIG_MAPS",
    "DEPLOYMENTS",
    "JOBS",
    "PODS",
    "ApiClient",
    "ApiError",
    "ControlPlane",
    "Kind",
    "etcd_and_api_server",
    "until",
    "write_kubeconfig",
]
