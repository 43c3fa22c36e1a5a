"""Runs that are killed at random moments, on a store that fails now and then, end as if nothing had happened.

`make test-kills KILLS=20` kills more often than the tests of every day do; the same seed gives the same moments, as far
as requests to the store are concerned.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.trainer.conftest import Pod
from tests.trainer.s3_server import S3Server, Service, serve_everybody

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("SEED", "20"))
KILLS_PER_RUN = 4
REQUESTS = 60
"""A run is killed at one of its first so many requests; an undisturbed one makes about a hundred."""
REFUSED, LOST = 0.03, 0.03
"""Shares of requests that fail without and with effect; the client tries each again, a few times."""


class Fate:
    """Kills a process at a request that is chosen beforehand, and makes some requests fail."""

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self._moment = generator.randrange(1, REQUESTS)
        self._delay = generator.choice((0.0, generator.uniform(0.0, 0.3)))
        self._requests = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.last_request = ""

    def doorkeeper(self, method: str, path: str) -> Service:
        self._requests += 1
        if self._requests == self._moment:
            self.last_request = f"{method} {path.partition('/adapters/')[2]}"
            threading.Timer(self._delay, self._kill).start()
        chance = self._generator.random()
        return Service.REFUSED if chance < REFUSED else Service.LOST if chance < REFUSED + LOST else Service.SERVED

    def _kill(self) -> None:
        assert self.process is not None
        self.process.kill()


@pytest.mark.timeout(600 * KILLS)
def test_killed_runs_on_a_failing_store_end_in_one_version_of_the_same_bytes(
    new_pod: Callable[[str], Pod], trained_pod: Pod, s3_server: S3Server, tmp_path: Path
) -> None:
    generator = random.Random(SEED)
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        pod = new_pod(f"life {runs}")
        pod.config["training"]["checkpointSeconds"] = 1
        kills += live(pod, generator, s3_server, kills=min(KILLS_PER_RUN, KILLS - kills))
        assert pod.registry.numbers() == (1,)
        assert pod.weights_sha256() == trained_pod.weights_sha256()
        # The logged training loss is a mean over the steps since the last log, of which a resumed process saw fewer.
        assert pod.version().manifest.metrics.eval_loss == trained_pod.version().manifest.metrics.eval_loss
        pod.registry.fetch(pod.version(), tmp_path / f"{runs}")
        assert pod.checkpoints.steps() == ()
    print(f"\n{kills} kills in {runs} runs, each of which published one version of the same bytes")


def live(pod: Pod, generator: random.Random, server: S3Server, *, kills: int) -> int:
    """Start the run again and again until it has published; return how often it was killed."""
    killed = 0
    while True:
        fate = Fate(generator)
        server.doorkeeper = fate.doorkeeper if killed < kills else serve_everybody
        fate.process = process = pod.start()
        code = process.wait()
        server.doorkeeper = serve_everybody
        assert code in (0, 68, -signal.SIGKILL), "a failing store is no crash"
        if code == 0:
            return killed
        if code == -signal.SIGKILL:
            killed += 1
            print(f"\nkilled at {fate.last_request}; checkpoints {pod.checkpoints.steps()}")
        assert_nothing_is_half_published(pod)


def assert_nothing_is_half_published(pod: Pod) -> None:
    """A version is there with all its files, or not at all."""
    numbers = pod.registry.numbers()
    assert numbers in ((), (1,))
    if numbers:
        pod.registry.fetch(pod.version(), pod.folder / f"fetched-{len(list(pod.folder.iterdir()))}")
