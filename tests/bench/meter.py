"""Measures one training from inside its process: start-up by its phases, speed, memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Meter:
    """Phases in seconds of wall time; tokens include padding, which is computed, too."""

    phases: dict[str, float] = field(default_factory=dict)
    tokens_at_steps: list[int] = field(default_factory=list)
    wall_at_steps: list[float] = field(default_factory=list)
    cpu_at_steps: list[float] = field(default_factory=list)
    _tokens: int = 0
    _training_since: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the start-up."""
        begin = time.perf_counter()
        yield
        self.phases[name] = time.perf_counter() - begin

    def watch(self, model: Any) -> None:
        """Count tokens at the embeddings and look at the clock after every optimizer step; training begins now."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        model.get_input_embeddings().register_forward_hook(self._count)
        register_optimizer_step_post_hook(self._after_step)
        self._training_since = time.perf_counter()

    def _count(self, _module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        self._tokens += inputs[0].numel()

    def _after_step(self, *_: Any) -> None:
        self.tokens_at_steps.append(self._tokens)
        self.wall_at_steps.append(time.perf_counter())
        self.cpu_at_steps.append(time.process_time())

    def result(self) -> Result:
        """Return what was measured; the first step is start-up, and its tokens don't count."""
        tokens = self.tokens_at_steps[-1] - self.tokens_at_steps[0]
        wall = self.wall_at_steps[-1] - self.wall_at_steps[0]
        cpu = self.cpu_at_steps[-1] - self.cpu_at_steps[0]
        first_step = self.wall_at_steps[0] - self._training_since
        return Result(
            phases=self.phases | {"first step": first_step},
            steps=len(self.wall_at_steps),
            tokens_per_second=tokens / wall,
            tokens_per_cpu_second=tokens / cpu,
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )


@dataclass(frozen=True)
class Result:
    phases: dict[str, float]
    steps: int
    tokens_per_second: float
    tokens_per_cpu_second: float
    peak_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
