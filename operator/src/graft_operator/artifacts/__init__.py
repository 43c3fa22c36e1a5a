"""What the operator knows of the artifact registry: the only package that opens the registry's store.

| module | its part |
|---|---|
| ``artifacts`` | what can be asked and written: :class:`Artifacts` |
| ``questions`` | how each question is put to the registry, and for how long its answer holds |
| ``answers`` | keeps the answers, looks up what is missing or too old, and tells where an answer has changed |
| ``lookups`` | runs what blocks: in a few threads, fairly between namespaces, and never for long |
| ``audit`` | whose turn it is to be looked up again although nothing has asked: what is served might vanish |

Nobody waits for the registry. A getter says what is known, or that it isn't, at once; what it lacks is looked up behind
its back, and ``on_news`` names the object that has to be looked at again.
"""

from graft_operator.artifacts.artifacts import Artifacts
from graft_operator.artifacts.lookups import Inline, RegistryUnavailable, Threads
from graft_registry.documents import StoredVersion
from graft_registry.errors import Corrupt, Forbidden, NotFound, RegistryError

__all__ = [
    "Artifacts",
    "Corrupt",
    "Forbidden",
    "Inline",
    "NotFound",
    "RegistryError",
    "RegistryUnavailable",
    "StoredVersion",
    "Threads",
]
