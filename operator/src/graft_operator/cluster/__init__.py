"""The Kubernetes API: the only package that imports the Kubernetes client.

Plain dicts go in and come out. Objects are never read into models and written back, which would drop every field
that the client does not know: writes are server-side applies, creates and JSON patches.
"""

from graft_operator.cluster.client import Cluster
from graft_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from graft_operator.cluster.resources import Resource

__all__ = [
    "AlreadyExists",
    "Cluster",
    "ClusterError",
    "Conflict",
    "Forbidden",
    "Invalid",
    "NotFound",
    "Resource",
    "Unavailable",
]
