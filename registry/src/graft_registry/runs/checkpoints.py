"""Checkpoints of one training run: whole or not there, so that a resume never starts from a damaged one.

The files are whatever the trainer writes; they belong to one run, are read only by it, and are never published.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from graft_registry.atomic_directory import atomic_directory
from graft_registry.documents import CheckpointManifest, timestamp
from graft_registry.errors import Corrupt, NotFound
from graft_registry.layout import AdapterLayout
from graft_registry.runs.stored_directories import download_files, upload_directory
from graft_registry.s3.store import ObjectStore

log = logging.getLogger(__name__)


Accept = Callable[[int, Path], None]
"""Looks at the files of a step and raises ValueError where its user can't go on from them."""


def anything(_step: int, _folder: Path) -> None:
    """Accept whatever verifies."""


class CheckpointStore:
    """The checkpoints of one recipe's run. One writer at a time."""

    def __init__(self, store: ObjectStore, namespace: str, adapter: str, recipe: str) -> None:
        self._store = store
        self._recipe = recipe
        self._layout = AdapterLayout(namespace, adapter)

    def save(self, step: int, directory: Path) -> None:
        """Store all regular files below a directory as the checkpoint of a step: files first, manifest last.

        A checkpoint of the same step is replaced; its manifest goes first.

        Raises:
            ValueError: a file has a name that can't be stored (see ``StoredFile``).
        """
        self._store.delete(self._layout.checkpoint_manifest(self._recipe, step))
        files = upload_directory(self._store, directory, partial(self._layout.checkpoint_file, self._recipe, step))
        manifest = CheckpointManifest(recipe=self._recipe, step=step, files=files, created_time=timestamp())
        self._store.put(self._layout.checkpoint_manifest(self._recipe, step), manifest.to_bytes())

    def restore_latest(self, destination: Path, accept: Accept = anything) -> int | None:
        """Make ``destination`` the newest checkpoint that verifies in full, and return its step.

        A damaged one is skipped for the one before it, with a warning. None: there is no usable checkpoint, and
        ``destination`` is untouched.

        Raises:
            Unavailable: the store is away; an older checkpoint isn't taken for that reason.
            OSError: ``destination`` exists and isn't empty.
        """
        for step in reversed(self.steps()):
            try:
                self.restore(step, destination, accept)
            except (NotFound, Corrupt) as error:
                log.warning("checkpoint skipped step=%d error=%s", step, error)
                continue
            return step
        return None

    def restore(self, step: int, destination: Path, accept: Accept = anything) -> None:
        """Make ``destination`` the checkpoint of a step.

        Raises:
            NotFound: there is none, or a file of it is missing.
            Corrupt: it does not verify, or isn't accepted.
            Unavailable: the store is away.
            OSError: ``destination`` exists and isn't empty.
        """
        key = self._layout.checkpoint_manifest(self._recipe, step)
        try:
            manifest = CheckpointManifest.from_bytes(self._store.get(key))
        except ValidationError as error:
            raise Corrupt(key, "a graft.dev/checkpoint/v1 document", str(error)) from error
        if (manifest.recipe, manifest.step) != (self._recipe, step):
            raise Corrupt(key, f"step {step} of {self._recipe}", f"step {manifest.step} of {manifest.recipe}")
        with atomic_directory(destination) as staging:
            key_of = partial(self._layout.checkpoint_file, self._recipe, step)
            download_files(self._store, manifest.files, staging, key_of)
            try:
                accept(step, staging)
            except ValueError as error:
                raise Corrupt(key, "a checkpoint of the trainer", str(error)) from error

    def steps(self) -> tuple[int, ...]:
        """Return the steps of all complete checkpoints, ascending."""
        entries = self._store.list(self._layout.checkpoints(self._recipe))
        steps = (self._layout.checkpoint_step(self._recipe, entry.key) for entry in entries)
        return tuple(sorted(step for step in steps if step is not None))

    def prune(self, keep: int = 2, *, newest: int | None = None) -> None:
        """Delete all but the newest ``keep`` complete checkpoints. Two, so that one may turn out damaged.

        Those after the step ``newest`` go as well: a run that has come to this step has skipped them, and they must not
        take the places of whole ones.

        Raises:
            ValueError: ``keep`` is below 1.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}; use clear() to delete all checkpoints")
        steps = self.steps()
        kept = [step for step in steps if newest is None or step <= newest][-keep:]
        for step in steps:
            if step not in kept:
                self._delete(step)

    def clear(self) -> None:
        """Delete all checkpoints of the run."""
        for step in self.steps():
            self._delete(step)
        self._store.delete_prefix(self._layout.checkpoints(self._recipe))

    def _delete(self, step: int) -> None:
        """Delete one checkpoint, manifest first, so that it never seems complete when it isn't."""
        self._store.delete(self._layout.checkpoint_manifest(self._recipe, step))
        self._store.delete_prefix(self._layout.checkpoint(self._recipe, step))
