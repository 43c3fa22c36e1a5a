"""Records beside the versions in the registry which of them were given up, and why.

A status remembers that as long as its object lives. The registry remembers it for whoever comes after: an object that
was deleted and applied again, or a cluster that is built anew, must not serve what was rolled back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from graft_operator.api.adapter_status import Version
from graft_operator.api.meta import ObjectMeta
from graft_operator.artifacts import Artifacts, RegistryError, RegistryUnavailable
from graft_operator.plan.known import Unknown
from graft_operator.plan.training.versions import is_given_up, verdicts_to_record
from graft_registry.documents import VersionVerdict

log = logging.getLogger(__name__)

Subject = tuple[str, str, int]
"""Namespace, adapter and number."""


class VerdictRecorder:
    """Writes beside the passes: nobody waits for the registry. What fails is written with a later pass."""

    def __init__(self, artifacts: Artifacts, clock: Callable[[], datetime]) -> None:
        self._artifacts = artifacts
        self._clock = clock
        self._writing: dict[Subject, asyncio.Task[None]] = {}

    def record(self, adapter: ObjectMeta, before: Sequence[Version], versions: Sequence[Version]) -> None:
        """Record what the registry does not know yet of the versions of a status, which was another one before."""
        if not any(map(is_given_up, (*before, *versions))):
            return
        known = self._artifacts.verdicts(adapter.namespace, adapter.name)
        if isinstance(known, Unknown):
            return  # the object is looked at again when it is known
        for verdict in verdicts_to_record(versions, known.value or {}, self._clock()):
            subject = (adapter.namespace, adapter.name, verdict.number)
            if subject not in self._writing:
                self._writing[subject] = asyncio.get_running_loop().create_task(self._write(subject, verdict))

    async def _write(self, subject: Subject, verdict: VersionVerdict) -> None:
        namespace, adapter, _ = subject
        try:
            await self._artifacts.record_verdict(namespace, adapter, verdict)
        except (RegistryError, RegistryUnavailable) as error:
            fields = {"adapter": f"{namespace}/{adapter}", "version": verdict.number, "error": str(error)}
            log.warning("verdict not recorded yet", extra=fields)
        finally:
            del self._writing[subject]
