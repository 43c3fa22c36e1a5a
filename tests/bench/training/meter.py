"""Measures one training from inside its process: start-up by its phases, speed, memory."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BEGUN = "GRAFT_BENCH_BEGUN"
"""Variable with the time at which the process was started, in seconds since the epoch."""


@dataclass
class Meter:
    """Looks at the clocks after every optimizer step; tokens are those of rows, padding left out.

    The phases that contestants don't name are ``interpreter``, from the start of the process to here, and
    ``first step``, from the beginning of the training to the end of its first step.
    """

    phases: dict[str, float] = field(default_factory=dict)
    tokens_at_steps: list[int] = field(default_factory=list)
    wall_at_steps: list[float] = field(default_factory=list)
    cpu_at_steps: list[float] = field(default_factory=list)
    _pad_token_id: int | None = None
    _tokens: int = 0
    _training_since: float = 0.0
    _resident_before: int = 0

    def __post_init__(self) -> None:
        self.phases["interpreter"] = time.time() - float(os.environ[BEGUN])

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the start-up."""
        begin = time.perf_counter()
        yield
        self.phases[name] = time.perf_counter() - begin

    def watch(self, model: Any, pad_token_id: int) -> None:
        """Count tokens at the embeddings from now on; training begins now."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self._pad_token_id = pad_token_id
        self._resident_before = resident_bytes()
        model.get_input_embeddings().register_forward_hook(self._count)
        register_optimizer_step_post_hook(self._after_step)
        self._training_since = time.perf_counter()

    def _count(self, _module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        self._tokens += int((inputs[0] != self._pad_token_id).sum())

    def _after_step(self, *_: Any) -> None:
        self.tokens_at_steps.append(self._tokens)
        self.wall_at_steps.append(time.perf_counter())
        self.cpu_at_steps.append(time.process_time())

    def result(self) -> Result:
        """Return what was measured; the first step is start-up, and its tokens don't count."""
        tokens = self.tokens_at_steps[-1] - self.tokens_at_steps[0]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Result(
            phases=self.phases | {"first step": self.wall_at_steps[0] - self._training_since},
            steps=len(self.wall_at_steps),
            tokens=tokens,
            tokens_per_second=tokens / (self.wall_at_steps[-1] - self.wall_at_steps[0]),
            tokens_per_cpu_second=tokens / (self.cpu_at_steps[-1] - self.cpu_at_steps[0]),
            peak_bytes=peak,
            training_bytes=peak - self._resident_before,
        )


@dataclass(frozen=True)
class Result:
    """What one process has measured."""

    phases: dict[str, float]
    """Seconds of wall time."""
    steps: int
    tokens: int
    """Tokens of rows in all steps but the first."""
    tokens_per_second: float
    tokens_per_cpu_second: float
    peak_bytes: int
    """Most resident memory of the process, libraries included."""
    training_bytes: int
    """By how much that is more than when the training began."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


def resident_bytes() -> int:
    """Return the resident memory of this process right now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
