"""An engine for each kind of base: the cluster's image in a container of its own, which sees files of this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from demo import objects
from demo.environment import Environment
from tests.engine.engine import Engine
from tests.engine.pod import ENVIRONMENT, READY_SECONDS
from tests.ports import free_port

CONTAINER = "graft-families-engine"
MODEL = "tiny"
LONGEST = 96
"""Tokens of a question with its answer."""
ADAPTER_ARGUMENTS = ("--enable-lora", "--max-loras=1", "--max-cpu-loras=2", "--max-lora-rank=16")
ERROR_SECONDS = 5.0
"""Patience for the error behind an answer of 500."""
TORCHVISION = "torchvision==0.28.0"
"""The build for the image's torch. vLLM's classes for models with pictures import it, though asked for text alone."""
_IS_AN_ERROR = re.compile(r"((\w+\.)*\w*(Error|Exception): (?!\d+ validation errors? for )|Value error, )")
_TRACEBACK_NOISE = re.compile(r"(\x1b\[[0-9;]*m|\(\w+ pid=\d+\)|[A-Z]+ \d\d-\d\d [\d:]+ \[[^\]]*\])")


class EngineEndedError(Exception):
    """The engine doesn't serve the base. The message is what it said last."""


@contextmanager
def engine_of(environment: Environment, base: Path, folder: Path, *, adapters: bool = True) -> Iterator[Engine]:
    """Start the engine on a base; it sees ``folder`` at the path that it has here. It is removed at the end.

    ``adapters``: whether it is to load any. Some kinds of base can't be served with them.

    Raises:
        EngineEndedError: it ended before it was ready.
    """
    run = _Docker(environment)
    run("rm", "--force", CONTAINER, check=False)
    port = free_port()
    container = ("run", "--detach", f"--name={CONTAINER}", *_container(folder, environment.cache))
    run(*container, environment.images["engine"], *_arguments(base, port, adapters=adapters))
    try:
        engine = Engine(url=f"http://127.0.0.1:{port}", model=MODEL, is_own=True)
        _wait_until_ready(engine, run)
        yield engine
    finally:
        run("rm", "--force", CONTAINER, check=False)


def _container(folder: Path, cache: Path) -> list[str]:
    """Return Docker's options: the engine is who this process is, so that it may read what was written here.

    It keeps what it has found of a model's class, for which it imports all of itself once more.
    """
    kept, packages = cache / "families-engine", _packages(cache)
    kept.mkdir(exist_ok=True)
    environment = {**ENVIRONMENT, "HOME": "/tmp", "VLLM_CACHE_ROOT": str(kept), "PYTHONPATH": str(packages)}
    return [
        "--network=host",
        "--shm-size=512m",
        f"--user={os.getuid()}:{os.getgid()}",
        f"--volume={folder}:{folder}:ro",
        f"--volume={kept}:{kept}",
        f"--volume={packages}:{packages}:ro",
        *(f"--env={name}={value}" for name, value in environment.items()),
    ]


def _packages(cache: Path) -> Path:
    """Return a folder with what vLLM's own images have and the cluster's lacks."""
    folder = cache / f"families-{TORCHVISION}"
    if not folder.exists():
        uv = next(cache.glob("uv-*/bin/uv"))
        unfinished = cache / f"{folder.name}.unfinished"
        subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--target", unfinished, TORCHVISION], check=True)
        unfinished.rename(folder)
    return folder


def _arguments(base: Path, port: int, *, adapters: bool) -> list[str]:
    return [
        *(ADAPTER_ARGUMENTS if adapters else ()),
        f"--model={base}",
        f"--served-model-name={MODEL}",
        "--host=127.0.0.1",
        f"--port={port}",
        f"--max-model-len={LONGEST}",
        *objects.CPU_ENGINE_ARGUMENTS,
        *_arguments_of_kind(json.loads((base / "config.json").read_text())),
    ]


def _arguments_of_kind(config: dict[str, Any]) -> list[str]:
    """Return what some kinds need: no processor of pictures; the one precision of linear attention on a CPU."""
    text = config.get("text_config", config)
    return [
        *(("--language-model-only",) if "vision_config" in config else ()),
        *(("--dtype=bfloat16",) if "linear_attention" in text.get("layer_types", ()) else ()),
    ]


def _wait_until_ready(engine: Engine, run: _Docker) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            engine.models()
        except (urllib3.exceptions.HTTPError, AssertionError):
            if not _runs(run):
                raise EngineEndedError(last_words(run("logs", CONTAINER))) from None
            if time.monotonic() > deadline:
                raise AssertionError(f"the engine is not ready after {READY_SECONDS} s") from None
            time.sleep(1)
        else:
            return


def runs(environment: Environment) -> bool:
    """Whether the engine has not ended."""
    return _runs(_Docker(environment))


def _runs(run: _Docker) -> bool:
    return run("inspect", "--format={{.State.Running}}", CONTAINER) == "true"


def said_last(environment: Environment) -> str:
    """Return what the running engine has said last of an error, which may be in its log a little after its answer."""
    run, deadline = _Docker(environment), time.monotonic() + ERROR_SECONDS
    while not error_of(log := run("logs", CONTAINER)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return last_words(log)


def last_words(log: str) -> str:
    """Return the error of an engine's log, or its last lines where there is none."""
    return error_of(log) or " ".join(_lines(log)[-3:])


def error_of(log: str) -> str:
    """Return the error of an engine's log that the others follow from: the first that a traceback ends with.

    A module that is missing is the cause of whatever else there is. Where settings are refused, the reason stands below
    the error, which only counts them. Where the error is about Triton, what the engine has said of Triton before comes
    first.
    """
    lines = _lines(log)
    errors = [line for line in lines if _IS_AN_ERROR.match(line)]
    if not errors:
        return ""
    errors.sort(key=lambda error: not error.startswith("ModuleNotFoundError"))
    first, _, _ = errors[0].partition(" [type=")  # what pydantic appends, all settings among it
    of_triton = [line for line in lines if re.search("TRITON|triton-cpu", line)] if "triton" in first else []
    return "; ".join([*dict.fromkeys(of_triton), first])


def _lines(log: str) -> list[str]:
    return [_TRACEBACK_NOISE.sub("", line).strip() for line in log.splitlines()]


class _Docker:
    """The program, asking the daemon of the local cluster."""

    def __init__(self, environment: Environment) -> None:
        host = environment.docker_host
        self._command = ["docker", *(("--host", host) if host else ())]

    def __call__(self, *words: str, check: bool = True) -> str:
        """Return what a command printed on both of its outputs."""
        done = subprocess.run(
            [*self._command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"docker {words[0]} failed: {done.stdout[-2000:]}")
        return done.stdout.strip()
