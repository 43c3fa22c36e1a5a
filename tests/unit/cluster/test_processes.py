import os
import sys
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker.processes import Daemon, parse_start_time, start_time


def test_a_name_with_parentheses_does_not_confuse_the_reader() -> None:
    fields = ["S", *(str(number) for number in range(4, 53))]
    assert parse_start_time("7 (a) b (c)) " + " ".join(fields)) == "22"
    assert parse_start_time("7 (a) Z " + " ".join(fields[1:])) is None


def test_a_process_is_started_once_and_stopped(tmp_path: Path) -> None:
    daemon = Daemon("sleeper", Cache(tmp_path))
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    daemon.start(command, os.environ)
    pid = daemon.running_pid()
    daemon.start(command, os.environ)
    assert pid is not None
    assert daemon.running_pid() == pid
    assert daemon.stop()
    assert start_time(pid) is None
    assert not daemon.stop()


def test_a_pid_that_belongs_to_another_process_now_is_left_alone(tmp_path: Path) -> None:
    daemon = Daemon("other", Cache(tmp_path))
    daemon.pid_file.write_text(f"{os.getpid()} 1\n")
    assert daemon.running_pid() is None
    assert not daemon.stop()
