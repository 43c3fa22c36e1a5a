"""What the agent needs after a restart while the Kubernetes API is away.

That is the last wanted set, where the aliases pointed, and what the base answered before any adapter was loaded.

On a full disk nothing is saved, and the pod goes on serving.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from graft_serving.adapters.proof import BaseAnswer
from graft_serving.files import read_if_there, write_atomically
from graft_serving.versions import Route

logger = logging.getLogger(__name__)

_BASE_ANSWERS: TypeAdapter[tuple[str, tuple[BaseAnswer, ...]]] = TypeAdapter(tuple[str, tuple[BaseAnswer, ...]])
_ROUTES: TypeAdapter[dict[str, Route]] = TypeAdapter(dict[str, Route])


class SavedState:
    """A few files in one folder, which outlive the agent's process but not the pod."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made when there is something to save."""
        self._wanted = folder / "wanted.json"
        self._routes = folder / "routes.json"
        self._base_answers = folder / "base-answers.json"

    def wanted(self) -> bytes | None:
        """The bytes of the last wanted set that was applied."""
        return read_if_there(self._wanted)

    def save_wanted(self, raw: bytes) -> None:
        """Save a wanted set that was applied."""
        _save(self._wanted, raw)

    def routes(self) -> dict[str, Route]:
        """Where the aliases pointed; empty if that can't be read. Each alias then waits for its wanted route."""
        raw = read_if_there(self._routes)
        try:
            return _ROUTES.validate_json(raw) if raw is not None else {}
        except ValidationError:
            return {}

    def save_routes(self, routes: Mapping[str, Route]) -> None:
        """Save where the aliases point."""
        _save(self._routes, _ROUTES.dump_json(dict(routes)))

    def base_answers(self, base_digest: str) -> tuple[BaseAnswer, ...] | None:
        """What this base answered before anything was loaded; None if that is not known."""
        raw = read_if_there(self._base_answers)
        try:
            digest, answers = _BASE_ANSWERS.validate_json(raw) if raw is not None else ("", ())
        except ValidationError:
            return None
        return answers if digest == base_digest else None

    def save_base_answers(self, base_digest: str, answers: tuple[BaseAnswer, ...]) -> None:
        """Save what the base answers."""
        _save(self._base_answers, _BASE_ANSWERS.dump_json((base_digest, answers)))


def _save(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        logger.error("what a restart needs can't be kept path=%s: %s", path, error)
