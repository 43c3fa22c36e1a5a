"""The verdicts on the versions of one adapter. They are stored beside the versions, which never change."""

import logging
from typing import Final

from graft_registry.documents import VersionVerdict
from graft_registry.errors import Corrupt, NotFound
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.s3.stored_documents import numbered, read_document

log = logging.getLogger(__name__)

_MOST: Final = 64
"""Verdicts that are read, those on the newest versions."""


class VerdictRegistry:
    """The verdicts on the versions of one adapter. Stateless: every answer comes from the store."""

    def __init__(self, store: ObjectStore, namespace: str, adapter: str) -> None:
        self._store = store
        self._layout = AdapterLayout(namespace, adapter)

    def record(self, verdict: VersionVerdict) -> None:
        """Replace what was decided about the version that ``verdict`` names."""
        self._store.put(self._layout.verdict(verdict.number), verdict.to_bytes())

    def read_all(self) -> dict[int, VersionVerdict]:
        """Return what was decided last, by the numbers of the versions. What can't be read is passed over.

        A verdict is about the manifest digest that it names, and about no other version of the same number.

        Raises:
            Corrupt: there are more keys than trainings make.
        """
        found = {}
        for number in numbered(self._store, self._layout.verdicts, self._layout.verdict_number)[-_MOST:]:
            try:
                verdict, _ = read_document(self._store, self._layout.verdict(number), VersionVerdict)
            except (NotFound, Corrupt) as error:
                log.warning("verdict passed over: %s", error)
                continue
            if verdict.number == number:
                found[number] = verdict
        return found
