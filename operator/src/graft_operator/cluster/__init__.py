"""The Kubernetes API: the only package that imports the Kubernetes client.

`watching` says which of the `resources` are watched; an `informer` for each lists and watches it into the `cache`,
from which everybody reads; what others have made is read in bounded pages, and of a `workload` little. `client` writes,
through the same `transport`, and puts what the server makes of it into the cache at once; `leases` is for the leader.
Plain dicts go in and come out. Objects are never read into models and written back, which would drop every field that
the client does not know: writes are server-side applies, creates and JSON patches.
"""

from graft_operator.cluster.cache import Cache, Change
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unavailable,
)
from graft_operator.cluster.resources import Resource

__all__ = [
    "AlreadyExists",
    "Cache",
    "Change",
    "Cluster",
    "ClusterError",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "NotFound",
    "Resource",
    "Unavailable",
]
