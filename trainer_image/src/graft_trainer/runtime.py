"""Prepares the process: where files may go, how many threads compute, how log lines look.

The root file system is read-only and the pod has no network but to the object store, so caches move below the work
folder and the model hub is never asked.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

CPU_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
MOST_RENDERING = 8
"""Most processes that render rows. Each takes some 150 MiB, and soon the one that collects the results is too slow."""
LOCAL_RENDEZVOUS = "127.0.0.1:29400"
"""Where the workers of a single pod meet, at the default port of ``torchrun``."""
REPORTS_FOLDER = "reports"
"""Where the workers of a pod leave their termination messages, by local rank, below the work folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Paths that the pod's environment decides, and which of its processes this is."""

    run_config: Path
    work_folder: Path
    termination_log: Path
    log_format: str
    rendezvous: str = LOCAL_RENDEZVOUS
    """Address of the Job's first pod, where all workers meet."""
    node_rank: int = 0
    """Which pod of the Job this is."""
    rank: int = 0
    """Which worker of the run this is."""
    local_rank: int | None = None
    """Which worker of the pod this is; None for the pod's own process."""

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Settings:
        """Read ``GRAFT_*`` variables, all of which have defaults that suit the pod.

        The Job numbers its pods (``JOB_COMPLETION_INDEX``), and the launcher the workers of the run (``RANK``) and of a
        pod (``LOCAL_RANK``), each of which works in a folder of its own and reports to the launcher.
        """
        settings = cls(
            run_config=Path(environ.get("GRAFT_RUN_CONFIG", "/etc/graft/run.json")),
            work_folder=Path(environ.get("GRAFT_WORK_DIR", "/work")),
            termination_log=Path(environ.get("GRAFT_TERMINATION_LOG", "/dev/termination-log")),
            log_format=environ.get("GRAFT_LOG_FORMAT", "console"),
            rendezvous=environ.get("GRAFT_RENDEZVOUS", LOCAL_RENDEZVOUS),
            node_rank=int(environ.get("JOB_COMPLETION_INDEX", "0")),
            rank=int(environ.get("RANK", "0")),
        )
        if "LOCAL_RANK" not in environ:
            return settings
        rank = int(environ["LOCAL_RANK"])
        return replace(
            settings,
            work_folder=settings.work_folder / f"worker-{rank}",
            termination_log=settings.reports / str(rank),
            local_rank=rank,
        )

    @property
    def reports(self) -> Path:
        """Where the launcher reads what its workers report."""
        return self.work_folder / REPORTS_FOLDER


def prepare_environment(environ: MutableMapping[str, str], work_folder: Path, *, processes: int = 1) -> None:
    """Set what libraries read when they are imported; call it before torch and transformers are.

    The CPUs of the pod are shared out among its ``processes``.
    """
    for name, subfolder in {"HF_HOME": "huggingface", "TORCHINDUCTOR_CACHE_DIR": "inductor"}.items():
        environ.setdefault(name, str(work_folder / subfolder))
    environ["HF_HUB_OFFLINE"] = "1"
    # The tokenizer's threads would not survive a fork; nothing forks this process once rows are tokenized.
    environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    cpus = _cpus(environ)
    if cpus is not None:
        # Torch and the tokenizer count the node's cores; more threads than the pod's share only throttle one another.
        for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
            environ.setdefault(name, str(max(1, cpus // processes)))


def rendering_processes(environ: Mapping[str, str], *, processes: int = 1) -> int:
    """Return how many processes may render rows for one of the pod's ``processes``: as many as it has CPUs."""
    return max(1, min(MOST_RENDERING, (_cpus(environ) or os.cpu_count() or 1) // processes))


def _cpus(environ: Mapping[str, str]) -> int | None:
    return int(environ["GRAFT_CPUS"]) if "GRAFT_CPUS" in environ else cpu_quota(CPU_QUOTA_FILE)


def cpu_quota(path: Path) -> int | None:
    """Return the CPUs that the container's limit allows, at least 1; None where there is no limit (cgroup v2)."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))


def configure_logging(log_format: str, *, quiet: bool = False) -> None:
    """Send every record to standard error as one line: ``json`` for machines, anything else for people.

    ``quiet`` lets only warnings through: for workers that would repeat what the first one logs.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "httpx", "httpx2", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # On a CPU it warns about an optional package for faster 4-bit products, which changes no result.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def route_transformers_logging() -> None:
    """Let Transformers log through this program's handler, without progress bars; imports it."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_default_handler()
    transformers_logging.enable_propagation()
    transformers_logging.disable_progress_bar()


class ConsoleFormatter(logging.Formatter):
    """``12:00:00 INFO message``; line breaks are escaped, so a record stays one line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Render one line."""
        return super().format(record).replace("\n", "\\n")


class JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)
