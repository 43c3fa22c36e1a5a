"""Asks several at once, and waits for nobody who is left: Ctrl-C ends a program whose questions are under way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Thing = TypeVar("Thing")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


def as_they_come(ask: Callable[[Thing], Found], things: Sequence[Thing], at_once: int) -> Iterator[tuple[int, Found]]:
    """Ask about all things, and yield each answer as it comes, with the place of its thing. Raises what asking raises.

    A pool of ``concurrent.futures`` would be waited for at the end of the program, for as long as an answer may take.
    """
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Found | _Raised]] = queue.SimpleQueue()
    for place in range(len(things)):
        left.put(place)
    for number in range(min(at_once, len(things))):
        threading.Thread(target=_work, args=(ask, things, left, done), name=f"ask {number}", daemon=True).start()
    try:
        for _ in things:
            place, found = done.get()
            if isinstance(found, _Raised):
                raise found.error
            yield place, found
    finally:
        for _ in range(left.qsize()):  # nobody wants to know the rest
            _next(left)


def _work(
    ask: Callable[[Thing], Found],
    things: Sequence[Thing],
    left: queue.SimpleQueue[int],
    done: queue.SimpleQueue[tuple[int, Found | _Raised]],
) -> None:
    while (place := _next(left)) is not None:
        try:
            done.put((place, ask(things[place])))
        except BaseException as error:  # noqa: BLE001 -- raised where it is waited for
            done.put((place, _Raised(error)))


def _next(left: queue.SimpleQueue[int]) -> int | None:
    try:
        return left.get_nowait()
    except queue.Empty:
        return None
