"""The last step of a training or an import: store the version in the registry, and report it."""

from __future__ import annotations

import logging
from pathlib import Path

from graft_registry.documents import VersionDraft, VersionManifest
from graft_registry.errors import Corrupt, NotFound
from graft_trainer.outcome import Outcome, Reason
from graft_trainer.run import AnyRun

logger = logging.getLogger(__name__)


def previous_version(run: AnyRun) -> VersionManifest | None:
    """Return the parent that the new version's scores are compared with; None if the registry can't give it."""
    try:
        return None if run.config.parent is None else run.registry.read(run.config.parent).manifest
    except (NotFound, Corrupt) as error:
        logger.warning("version %d is not compared with: %s", run.config.parent, error)
        return None


def publish(run: AnyRun, draft: VersionDraft, folder: Path, *, step: int = 0) -> Outcome:
    """Publish the files of a folder as the next version, and delete the run's checkpoints."""
    stored = run.registry.publish(draft, folder)
    number, digest = stored.manifest.number, stored.digest
    run.progress.enter("Published", number=number, manifest_digest=digest)
    run.checkpoints.clear()
    message = f"published version {number} with {len(draft.golden)} golden prompts"
    logger.info("%s: %s", message, digest)
    return Outcome(reason=Reason.PUBLISHED, message=message, number=number, manifest_digest=digest, step=step)
