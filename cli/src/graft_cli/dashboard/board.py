"""Polls the cluster, and wakes up all who wait for a change of its state."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Generic, Self, TypeVar

from graft_cli.client.objects import Adapter, Base
from graft_cli.client.reader import GraftReader
from graft_cli.dashboard.curves import Curve, grown
from graft_cli.dashboard.rows import AdapterRow, BaseRow, adapter_row, base_row, key_of, missing_bases
from graft_cli.errors import GraftError
from graft_cli.rendering.documents import plain

LOOK_SECONDS: Final = 1.0
"""Between two looks, if they are quick."""
PART_OF_TIME: Final = 4
"""A slow look is followed by a pause of so many times its length: the machine has other things to do."""

Thing = TypeVar("Thing", Adapter, Base)
Row = TypeVar("Row", AdapterRow, BaseRow)


@dataclass(frozen=True, slots=True)
class State:
    """What the lists show. ``number`` is another one whenever anything in it has changed, but for ``seen``."""

    number: int = 0
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Rows as JSON, by their keys."""
    bases: Mapping[str, str] = field(default_factory=dict)
    problem: GraftError | None = None
    """Why the cluster could not be read at the last look, so that the rest is older."""
    seen: datetime | None = None
    """When the cluster was last seen in this state."""


class Board:
    """Looks at the objects of a namespace (None: of all) for as long as it is entered."""

    def __init__(self, reader: GraftReader, namespace: str | None) -> None:
        self.reader, self.namespace = reader, namespace
        self._state = State()
        self._news = threading.Condition()
        self._curves: dict[str, Curve] = {}
        self._adapters: _Rows[Adapter, AdapterRow] = _Rows(adapter_row)
        self._bases: _Rows[Base, BaseRow] = _Rows(base_row)
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Look once, and then go on."""
        self.look()
        threading.Thread(target=self._run, name="look", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no longer, and let nobody wait."""
        self._ended.set()
        with self._news:
            self._news.notify_all()

    @property
    def ended(self) -> bool:
        """Whether there will be no news any more."""
        return self._ended.is_set()

    def curve(self, key: str) -> Curve | None:
        """Return what was seen of an adapter's training."""
        return self._curves.get(key)

    def wait(self, known: int, seconds: float) -> State:
        """Return the state, as soon as it is another one than ``known`` or the time is over."""
        with self._news:
            self._news.wait_for(lambda: self._state.number != known or self.ended, timeout=seconds)
            return self._state

    def look(self) -> None:
        """Look once, and tell what has changed."""
        try:
            adapters, bases = self.reader.adapters(self.namespace), self.reader.bases(self.namespace)
        except GraftError as error:
            self._publish(replace(self._state, problem=error))
            return
        of_adapters, of_bases = self._adapters.take(adapters), self._bases.take(bases)
        missing = missing_bases(self._bases.rows, self._adapters.rows)
        of_bases |= {row.key: encoded(row) for row in missing}
        self._note(adapters)
        self._publish(State(self._state.number, of_adapters, of_bases, None, datetime.now(UTC)))

    def _run(self) -> None:
        took = 0.0
        while not self._ended.wait(max(LOOK_SECONDS, PART_OF_TIME * took)):
            began = time.monotonic()
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 -- the page has to say that it is not of now, whatever it was
                problem = GraftError(f"{type(error).__name__}: {error}", fix="this is a bug of kubectl graft dashboard")
                self._publish(replace(self._state, problem=problem))
            took = time.monotonic() - began

    def _note(self, adapters: Iterable[Adapter]) -> None:
        """Keep the losses that status tells; it tells the last one alone."""
        curves = {}
        for adapter in adapters:
            key, progress = key_of(adapter.metadata.namespace, adapter.metadata.name), adapter.status.training
            curve = self._curves.get(key) if progress is None else grown(self._curves.get(key), progress)
            if curve is not None:
                curves[key] = curve
        self._curves = curves

    def _publish(self, state: State) -> None:
        with self._news:
            before = self._state
            told = (before.adapters, before.bases, _words(before.problem))
            same = told == (state.adapters, state.bases, _words(state.problem)) and before.number > 0
            self._state = state if same else replace(state, number=before.number + 1)
            if not same:
                self._news.notify_all()


class _Rows(Generic[Thing, Row]):
    """The rows of all objects of a kind. Of an object that has not changed since, nothing is made again."""

    def __init__(self, make: Callable[[Thing], Row]) -> None:
        self._make: Callable[[Thing], Row] = make
        self._known: dict[str, tuple[Thing, Row, str]] = {}

    @property
    def rows(self) -> list[Row]:
        return [row for _, row, _ in self._known.values()]

    def take(self, things: Iterable[Thing]) -> dict[str, str]:
        """Return the rows of these objects as JSON, by their keys."""
        known = {}
        for thing in things:
            key = key_of(thing.metadata.namespace, thing.metadata.name)
            before = self._known.get(key)
            if before is None or before[0].raw is not thing.raw:
                row = self._make(thing)
                before = (thing, row, encoded(row))
            known[key] = before
        self._known = known
        return {key: text for key, (_, _, text) in known.items()}


def encoded(row: Any) -> str:
    """Return the JSON of a row, or of anything else that the page is told."""
    return json.dumps(plain(row), separators=(",", ":"))


def _words(problem: GraftError | None) -> tuple[str, str] | None:
    return (problem.message, problem.fix) if problem is not None else None
