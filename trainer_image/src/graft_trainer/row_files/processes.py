"""Renders batches of examples with several processes, in the order of the examples.

Their results come in the order of the batches, and so does the first error: what is rendered does not depend on the
number of processes. Each process has its own tokenizer and reads its examples itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from graft_trainer.data.conversation import Example
from graft_trainer.data.rendering import Renderer
from graft_trainer.outcome import TrainingError
from graft_trainer.row_files.examples import StoredExamples

logger = logging.getLogger(__name__)

BATCH: Final = 500
"""Most examples that are rendered together."""

BATCH_BYTES: Final = 1 << 20
"""Most bytes of examples on disk that are rendered together; a longer one is by itself."""

WORTH_IT: Final = 16 << 20
"""Bytes from which on several processes are faster than one: each of them takes seconds to start."""

MEANWHILE: Final = 100
"""Most batches that one process renders while the others start."""

AHEAD: Final = 2
"""Batches per process that are given out before the first of them is needed."""

LOOK_SECONDS: Final = 0.25
"""How often somebody looks whether the pod has to stop, while a batch is waited for."""

Result = TypeVar("Result")
RenderBatch = Callable[[Sequence[Any], int, Renderer, int], Result]
"""Renders some examples, of which the first has a number, with a renderer, to rows of so many tokens at most."""


def rendered_in_order(
    render: RenderBatch[Result],
    examples: Sequence[Example],
    renderer: Renderer,
    max_length: int,
    *,
    processes: int,
    idle: Callable[[], None],
) -> Generator[Result]:
    """Yield what ``render`` makes of each batch. ``idle`` is called while a batch is waited for, and may raise to stop.

    Examples that are not on disk are rendered by this process alone. So are the first batches, while other processes
    start and for whatever is to be told of a template to be told once, and all that is left where a process dies.
    """
    sizes = examples.sizes() if isinstance(examples, StoredExamples) else np.zeros(len(examples), dtype=np.int64)
    bounds = cut(sizes)
    done = 0

    def here(start: int, end: int) -> Result:
        return render(examples[start:end], start, renderer, max_length)

    if processes > 1 and sizes.sum() >= WORTH_IT and isinstance(examples, StoredExamples):
        # One by one, since each holds its files open.
        tasks = (_Task(render, max_length, start, examples[start:end]) for start, end in bounds)
        try:
            for result in _with_others(tasks, renderer, processes, idle):
                yield result
                done += 1
        except BrokenProcessPool:
            idle()
            logger.warning("a process that renders rows has died, as when memory runs out; one renders the rest")
    for start, end in bounds[done:]:
        yield here(start, end)


def cut(sizes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return where batches of examples of these sizes begin and end."""
    bounds: list[tuple[int, int]] = []
    begin = size = 0
    for position, more in enumerate(sizes):
        if position > begin and (position - begin == BATCH or size + more > BATCH_BYTES):
            bounds.append((begin, position))
            begin, size = position, 0
        size += int(more)
    return [*bounds, (begin, len(sizes))] if len(sizes) else bounds


@dataclass(frozen=True, slots=True)
class _Task:
    """One batch, as another process is asked for it."""

    render: RenderBatch[Any]
    max_length: int
    start: int
    examples: StoredExamples

    def run(self, renderer: Renderer) -> Any:
        """Render the batch."""
        return self.render(self.examples, self.start, renderer, self.max_length)

    def run_there(self) -> Any:
        """Render the batch in the process that this one has become; an error is returned, to be raised elsewhere."""
        try:
            return self.run(_own_renderer[0])
        except TrainingError as error:
            return _Refused(type(error), str(error), error.field)


@dataclass(frozen=True, slots=True)
class _Refused:
    """An error of another process that ends the run."""

    kind: type[TrainingError]
    message: str
    field: str | None


_own_renderer: list[Renderer] = []
"""That of a process that renders for another."""


def _with_others(
    tasks: Iterator[_Task],
    renderer: Renderer,
    processes: int,
    idle: Callable[[], None],
) -> Iterator[Any]:
    # Forking would copy the locks of threads that torch and the tokenizer have begun.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _become_renderer, (renderer,)) as pool:
        try:
            started = [pool.submit(_has_started) for _ in range(processes)]
            for task in islice(tasks, MEANWHILE):
                yield task.run(renderer)
                if any(one.done() for one in started):
                    break
            yield from _by_others(pool, tasks, AHEAD * processes, idle)
        except BaseException:
            # What they are at is waited for, some seconds: a process that is ended while it holds a lock of the pool's
            # queues leaves whoever shuts the pool down waiting for ever.
            pool.shutdown(cancel_futures=True)
            raise


def _by_others(
    pool: ProcessPoolExecutor, tasks: Iterator[_Task], ahead: int, idle: Callable[[], None]
) -> Iterator[Any]:
    given: deque[Future[Any]] = deque()
    for task in tasks:
        given.append(pool.submit(_Task.run_there, task))
        if len(given) == ahead:
            yield _result(given.popleft(), idle)
    while given:
        yield _result(given.popleft(), idle)


def _result(future: Future[Any], idle: Callable[[], None]) -> Any:
    while True:
        try:
            result = future.result(timeout=LOOK_SECONDS)
        except NotYetError:
            idle()
            continue
        if isinstance(result, _Refused):
            raise result.kind(result.message, field=result.field)
        return result


def _become_renderer(renderer: Renderer) -> None:
    """Make this process one that renders, and that ends with the one that asks it to."""
    logging.disable(logging.CRITICAL)
    # As many processes as CPUs: threads beside them would only be in their way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _own_renderer.append(renderer)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _has_started() -> bool:
    """Return what only a process that can render returns."""
    return bool(_own_renderer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
