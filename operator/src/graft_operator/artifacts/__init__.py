"""The artifact registry, without blocking the event loop: the only package that opens the registry's store."""

from graft_operator.artifacts.facade import Artifacts, RegistryUnavailable
from graft_registry.documents import StoredVersion
from graft_registry.errors import Corrupt, Forbidden, NotFound, RegistryError

__all__ = ["Artifacts", "Corrupt", "Forbidden", "NotFound", "RegistryError", "RegistryUnavailable", "StoredVersion"]
