"""Starts the workers of this pod and makes one outcome of theirs.

Torch's elastic agent, which is what ``torchrun`` runs too, starts and watches them. It is called in this process:
``torchrun`` exits with 1 whatever happened, while the exit code is what the Job acts on. The agent never restarts
workers: those of other pods have to start again too, from the last checkpoint, which is the Job's business.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from graft_trainer.config import WorkersConfig
from graft_trainer.outcome import Outcome, Reason
from graft_trainer.runtime import Settings

logger = logging.getLogger(__name__)

MEETING_SECONDS = 3600
"""How long the pods wait for one another: a node may have to be added to the cluster first."""

SHUTDOWN_SECONDS = 100
"""How long workers may take to store a checkpoint after SIGTERM; less than the pod's grace period."""

SIGKILL_CODE = -9


def launch(config: WorkersConfig, settings: Settings) -> Outcome:
    """Run the workers of this pod to their end, and return the outcome that explains it best."""
    shutil.rmtree(settings.reports, ignore_errors=True)
    settings.reports.mkdir(parents=True)
    exit_codes: dict[int, int] = {}
    try:
        elastic_launch(_launch_config(config, settings), sys.executable)("-m", "graft_trainer")
    except ChildFailedError as error:
        exit_codes = {failure.local_rank: failure.exitcode for failure in error.failures.values()}
    except SignalException as error:
        logger.info("%s; the workers have stopped", error)
    return outcome_of_pod(read_reports(settings.reports), exit_codes)


def outcome_of_pod(reports: Mapping[int, Outcome], exit_codes: Mapping[int, int]) -> Outcome:
    """Choose the pod's outcome from what its workers reported, by local rank, and from the exit codes of failed ones.

    First come failures that a worker reported, then workers that died without a report. Last comes what only follows
    from these: that other workers were stopped, or lost a peer.
    """
    silent = [_died(rank, code) for rank, code in sorted(exit_codes.items()) if rank not in reports]
    said = [reports[rank] for rank in sorted(reports)]
    consequences = (Reason.WORKER_LOST, Reason.PREEMPTED, Reason.PUBLISHED, Reason.ADOPTED)
    causes = [outcome for outcome in said if outcome.reason not in consequences]
    followed = sorted(
        (outcome for outcome in said if outcome.reason in consequences),
        key=lambda outcome: consequences.index(outcome.reason),
    )
    nobody = Outcome(reason=Reason.CRASHED, message="no worker said how it ended; see the pod's log")
    return next(iter([*causes, *silent, *followed]), nobody)


def read_reports(folder: Path) -> dict[int, Outcome]:
    """Read the termination messages that the workers left, by local rank."""
    reports = {}
    for path in folder.iterdir():
        said = json.loads(path.read_text(encoding="utf-8"))
        reports[int(path.name)] = Outcome(
            reason=Reason(said["reason"]),
            message=said["message"],
            field=said["field"],
            number=said["number"],
            manifest_digest=said["manifestDigest"],
            step=said["step"],
        )
    return reports


def _died(rank: int, exit_code: int) -> Outcome:
    if exit_code == SIGKILL_CODE:
        message = f"worker {rank} of this pod was killed, as the kernel does when memory runs out"
        return Outcome(reason=Reason.OUT_OF_MEMORY, message=message, field="spec.pod.resources")
    message = f"worker {rank} of this pod ended with exit code {exit_code} and no word; see the pod's log"
    return Outcome(reason=Reason.CRASHED, message=message)


def _launch_config(config: WorkersConfig, settings: Settings) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=config.nodes,
        max_nodes=config.nodes,
        nproc_per_node=config.processes_per_node,
        run_id="graft",
        role="trainer",
        rdzv_backend="static",
        rdzv_endpoint=settings.rendezvous,
        rdzv_configs={"rank": settings.node_rank, "timeout": MEETING_SECONDS},
        max_restarts=0,
        monitor_interval=0.2,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
