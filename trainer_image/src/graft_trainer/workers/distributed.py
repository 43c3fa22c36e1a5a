"""The processes that train together: which one this is, and how they agree.

Every worker runs the same steps on rows of its own. What only one of them may do (checkpoints, progress, evaluation,
publication) is the first one's, and what they must do at the same step (to save, to stop) they decide together.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from graft_trainer.config import WorkersConfig
from graft_trainer.outcome import InvalidConfigError, Outcome, TrainingError

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

STEP_TIMEOUT = timedelta(minutes=10)
"""Longest wait for another worker within a step; NCCL's own default."""

AGREEMENT_TIMEOUT = timedelta(days=1)
"""Longest wait for another worker's decision: the first one may evaluate or upload for long."""

POLL_SECONDS = 0.2


class Workers:
    """This process among ``count``; ``rank`` 0 is the first. Alone, everything is decided at once."""

    def __init__(self, *, rank: int = 0, count: int = 1, group: dist.ProcessGroup | None = None) -> None:
        self.rank = rank
        self.count = count
        # A group of its own on the CPUs: an agreement must neither wait for a GPU nor share the limit of a step.
        self._group = group

    @property
    def is_first(self) -> bool:
        """Whether this process writes for all."""
        return self.rank == 0

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether any worker has set it. Every worker has to call this at the same point."""
        if self._group is None:
            return flags
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=self._group)
        return tuple(bool(vote) for vote in votes.tolist())

    def from_first(self, value: Value) -> Value:
        """Return the first worker's value on all of them."""
        if self._group is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def to_first(self, value: Value) -> list[Value]:
        """Return the values of all workers, in the order of their ranks, on the first one; an empty list elsewhere."""
        if self._group is None:
            return [value]
        values: list[Any] | None = [None] * self.count if self.is_first else None
        dist.gather_object(value, values, dst=0, group=self._group)
        return values or []

    def announce(self, outcome: Outcome) -> None:
        """Tell the others how the first worker's own part ended. One that has gone meanwhile does not change that."""
        try:
            self.meet()
            self.from_first(outcome)
        except RuntimeError as error:
            logger.warning("a worker was gone before it could be told of the end: %s", error)

    def await_outcome(self, between: Callable[[], None]) -> Outcome:
        """Return what the first worker announces. ``between`` is called all the while and may raise to stop waiting."""
        self.meet_patiently(between)
        box: list[Any] = [None]
        dist.broadcast_object_list(box, src=0, group=self._group)
        outcome: Outcome = box[0]
        return outcome

    def meet_patiently(self, between: Callable[[], None]) -> None:
        """Wait until all workers are here. ``between`` is called all the while and may raise to stop waiting."""
        if self._group is None:
            return
        arrival = dist.barrier(group=self._group, async_op=True)
        while not arrival.is_completed():
            between()
            time.sleep(POLL_SECONDS)
        arrival.wait()

    def meet(self) -> None:
        """Wait until all workers are here."""
        if self._group is not None:
            dist.barrier(group=self._group)


def join(config: WorkersConfig) -> Workers:
    """Meet the other workers of the run, of which the launcher has told through the environment.

    Raises InvalidConfigError where a pod has fewer GPUs than workers, and TrainingError where they don't meet.
    """
    if config.count == 1:
        return Workers()
    backend = "gloo"
    if torch.cuda.is_available():
        _take_gpu(config)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=STEP_TIMEOUT)
        group = dist.new_group(backend="gloo", timeout=AGREEMENT_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"the {config.count} workers did not meet at {os.environ.get('MASTER_ADDR')}: {error}. Pods of this "
            "adapter must be allowed to connect to one another on every port"
        ) from error
    return Workers(rank=dist.get_rank(), count=dist.get_world_size(), group=group)


def free_memory() -> None:
    """Give back the memory of what is no longer referenced, on the GPU too."""
    gc.collect()
    torch.cuda.empty_cache()


def _take_gpu(config: WorkersConfig) -> None:
    if config.processes_per_node > torch.cuda.device_count():
        field = "spec.pod.workers.processesPerNode"
        raise InvalidConfigError(
            f"{field}: {config.processes_per_node} workers need as many GPUs, but the pod has "
            f"{torch.cuda.device_count()}; raise nvidia.com/gpu in spec.pod.resources.limits or lower it",
            field=field,
        )
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
