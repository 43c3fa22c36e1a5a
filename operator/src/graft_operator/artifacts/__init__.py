"""What the operator knows of the artifact registry: the only package that opens the registry's store.

| module | its part |
|---|---|
| ``artifacts`` | what can be asked and written: :class:`Artifacts` |
| ``questions`` | how each question is put to the registry, and for how long its answer holds |
| ``answers`` | keeps the answers, looks up what is missing or too old, and tells where an answer has changed |
| ``lookups`` | runs what blocks: in a few threads, fairly between namespaces, and never for long |
| ``audit`` | which served version is looked up next, to notice one that has vanished or was damaged |

Nobody waits for the registry. A getter returns at once what is known, or that it is unknown. What is missing is looked
up in the background, and ``on_news`` then names the object that has to be reconciled again.
"""

from graft_operator.artifacts.artifacts import Artifacts
from graft_operator.artifacts.lookups import InlineLookups, RegistryUnavailable, ThreadedLookups
from graft_registry.documents import StoredVersion
from graft_registry.errors import Corrupt, Forbidden, NotFound, RegistryError

__all__ = [
    "Artifacts",
    "Corrupt",
    "Forbidden",
    "InlineLookups",
    "NotFound",
    "RegistryError",
    "RegistryUnavailable",
    "StoredVersion",
    "ThreadedLookups",
]
