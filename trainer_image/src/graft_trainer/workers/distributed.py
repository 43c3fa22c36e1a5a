"""The processes that train together: which one this is, and the collectives by which they agree.

Every worker runs the same steps, each on its own rows. Only the first one (rank 0) writes checkpoints and progress,
evaluates and publishes. What all must do at the same step, such as to save or to stop, they decide together.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

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
    """This process among ``count``; ``rank`` 0 is the first. With one process no collective waits for anything.

    Every worker has to call the same collective at the same point, or those that do wait until their timeout.
    """

    def __init__(self, *, rank: int = 0, count: int = 1, group: dist.ProcessGroup | None = None) -> None:
        self.rank = rank
        self.count = count
        # Not the group of the gradients: a collective here must not wait for a GPU, and may take longer than a step.
        self._group = group

    @property
    def is_first(self) -> bool:
        """Whether this process writes for all."""
        return self.rank == 0

    def any_worker(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether any worker has set it (all-reduce)."""
        if self._group is None:
            return flags
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=self._group)
        return tuple(bool(vote) for vote in votes.tolist())

    def broadcast(self, value: Value) -> Value:
        """Return the first worker's value on all of them; what the others give is not looked at."""
        if self._group is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all workers, in the order of their ranks, on the first one; an empty list elsewhere."""
        if self._group is None:
            return [value]
        values: list[Any] | None = [None] * self.count if self.is_first else None
        dist.gather_object(value, values, dst=0, group=self._group)
        return values or []

    def announce(self, outcome: Outcome) -> None:
        """Tell the others how the run ended; called by the first. One that is gone is logged, and no failure."""
        try:
            self.barrier()
            self.broadcast(outcome)
        except RuntimeError as error:
            logger.warning("a worker was gone before it could be told of the end: %s", error)

    def await_outcome(self, while_waiting: Callable[[], None]) -> Outcome:
        """Return what the first worker announces; called by the others. ``while_waiting`` may raise to stop."""
        self.interruptible_barrier(while_waiting)
        outcome = self.broadcast(cast("Outcome | None", None))
        assert outcome is not None, "the first worker announces an outcome"
        return outcome

    def interruptible_barrier(self, while_waiting: Callable[[], None]) -> None:
        """Wait until all workers are here. ``while_waiting`` is called again and again, and may raise to stop."""
        if self._group is None:
            return
        arrival = dist.barrier(group=self._group, async_op=True)
        while not arrival.is_completed():
            while_waiting()
            time.sleep(POLL_SECONDS)
        arrival.wait()

    def barrier(self) -> None:
        """Wait until all workers are here."""
        if self._group is not None:
            dist.barrier(group=self._group)


def join(config: WorkersConfig) -> Workers:
    """Form the process group with the run's other workers, from the variables that the launcher has set.

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
