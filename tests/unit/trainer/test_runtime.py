"""The process fits into its container, and every log record is one line."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from graft_trainer.__main__ import between_rows
from graft_trainer.outcome import PreemptedError
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.progress import ProgressWriter
from graft_trainer.runtime import (
    ConsoleFormatter,
    JsonFormatter,
    Settings,
    cpu_quota,
    prepare_environment,
    rendering_processes,
)


@pytest.mark.parametrize(
    ("content", "cpus"),
    [("max 100000", None), ("400000 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("garbage", None)],
)
def test_the_quota_of_the_container(tmp_path: Path, content: str, cpus: int | None) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert cpu_quota(tmp_path / "cpu.max") == cpus


def test_no_quota_file_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "absent") is None


def test_caches_move_to_the_work_folder_and_the_hub_is_never_asked(tmp_path: Path) -> None:
    environment = {"OMP_NUM_THREADS": "3"}
    prepare_environment(environment, tmp_path)
    assert environment["HF_HOME"] == str(tmp_path / "huggingface")
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(("processes", "threads"), [(1, "8"), (4, "2"), (16, "1")])
def test_the_cpus_that_the_pod_was_told_of_are_shared_out(tmp_path: Path, processes: int, threads: str) -> None:
    environment = {"GRAFT_CPUS": "8"}
    prepare_environment(environment, tmp_path, processes=processes)
    assert environment["OMP_NUM_THREADS"] == threads


def test_settings_default_to_the_pods_paths() -> None:
    assert Settings.from_environment({}) == Settings(
        run_config=Path("/etc/graft/run.json"),
        work_folder=Path("/work"),
        termination_log=Path("/dev/termination-log"),
        log_format="console",
    )
    assert Settings.from_environment({"GRAFT_WORK_DIR": "/scratch"}).work_folder == Path("/scratch")


def record_with_exception() -> logging.LogRecord:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        return logging.LogRecord("n", logging.ERROR, "f", 1, "what %s", ("happened",), sys.exc_info())


def test_a_record_is_one_line() -> None:
    assert "\n" not in ConsoleFormatter().format(record_with_exception())
    text = JsonFormatter().format(record_with_exception())
    assert "\n" not in text
    document = json.loads(text)
    assert (document["level"], document["message"]) == ("ERROR", "what happened")
    assert "ValueError: first\nsecond" in document["exception"]


@pytest.mark.parametrize(
    ("cpus", "processes", "rendering"),
    [("1", 1, 1), ("4", 1, 4), ("4", 2, 2), ("1", 4, 1), ("192", 1, 8)],
)
def test_as_many_processes_render_as_there_are_cpus_for_them(cpus: str, processes: int, rendering: int) -> None:
    assert rendering_processes({"GRAFT_CPUS": cpus}, processes=processes) == rendering


def test_the_rows_that_are_done_are_told_until_the_pod_is_to_stop() -> None:
    told: list[object] = []

    class Progress(ProgressWriter):
        def update(self, **fields: object) -> None:
            told.append(fields)

    notice, progress = PreemptionNotice(), Progress(None, "sha256:" + "0" * 64)
    between_rows(notice, progress, 1000)
    between_rows(notice, progress, 500, 1000)
    notice.request()
    with pytest.raises(PreemptedError):
        between_rows(notice, progress, 2000)
    assert told == [{"rows": 1000, "total_rows": None}, {"rows": 500, "total_rows": 1000}]
