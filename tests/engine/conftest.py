"""The engine of each module: started for it in a pod of the local cluster, or the one that ENGINE names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from demo import objects
from demo.cluster import Cluster
from demo.environment import Environment, read_environment
from tests.engine.adapters import build_adapters
from tests.engine.engine import Adapters, Engine, named_engine
from tests.engine.pod import READY_SECONDS, engine_pod
from tests.engine.served import Served, served_by_agent
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "graft-engine"
POD = "engine"
VOLUME = "graft-engine"
"""Folder of the cache's volumes, which every node of the local cluster shows."""
SEEN_AT = Path(tempfile.gettempdir()) / VOLUME
"""Where pod and this machine both see that folder: the engine runs as somebody who may not look below /root."""
MODEL = "tiny"
PORT = 8001


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Adapters | None:
    """Return the folders of adapters, written anew; None where the engine that is named sees none."""
    named = named_engine(os.environ)
    if named is not None:
        if named.adapters is not None:
            build_adapters(named.adapters.base, named.adapters.folder)
        return named.adapters
    cache = read_environment().cache
    source = cache / "demo" / "e2e"
    command = [sys.executable, "-m", "demo.models.build", "--out", str(source)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    folder = cache / "volumes" / VOLUME
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source / "base-v1", folder / "base", copy_function=shutil.copyfile)
    build_adapters(folder / "base", folder / "adapters")
    SEEN_AT.unlink(missing_ok=True)
    SEEN_AT.symlink_to(folder)
    return Adapters(base=SEEN_AT / "base", folder=SEEN_AT / "adapters", seen_at=str(SEEN_AT / "adapters"))


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, adapters: Adapters | None) -> Iterator[Engine]:
    """Return the engine. A module that has a KEY gets an own one that asks for it."""
    if (named := named_engine(os.environ)) is not None:
        yield named
        named.unload_all()
        return
    assert adapters is not None
    with engine_in_cluster(read_environment(), adapters, key=getattr(request.module, "KEY", "")) as own:
        yield own


@pytest.fixture(scope="module")
def served(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return the engine behind an agent on this machine, with an adapter where it can have one."""
    if engine.key:
        pytest.skip("an agent's engine has no key, since it listens on loopback: start one without --api-key")
    with served_by_agent(engine, tmp_path_factory.mktemp("agent")) as served:
        yield served


@contextmanager
def engine_in_cluster(environment: Environment, adapters: Adapters, *, key: str) -> Iterator[Engine]:
    """Start an engine in a pod and a way to its port, on loopback, as few may reach it; delete the pod at the end."""
    os.environ["PATH"] = f"{environment.programs}:{os.environ['PATH']}" if environment.programs else os.environ["PATH"]
    cluster = Cluster.of(environment)
    cluster.apply(objects.namespace(NAMESPACE))
    cluster.delete("pod", POD, NAMESPACE)
    cluster.apply(real_engine(environment.images["engine"], key))
    ready = ("wait", "--for=condition=Ready", f"pod/{POD}", "-n", NAMESPACE, f"--timeout={READY_SECONDS}s")
    cluster.kubectl(*ready, timeout=READY_SECONDS + 20)
    port = free_port()
    forward = subprocess.Popen(
        ["kubectl", "port-forward", "-n", NAMESPACE, f"pod/{POD}", f"{port}:{PORT}"],
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
    )
    engine = Engine(url=f"http://127.0.0.1:{port}", model=MODEL, key=key, adapters=adapters, is_own=True)
    try:
        wait_for(engine)
        yield engine
    finally:
        forward.terminate()
        forward.wait()
        cluster.delete("pod", POD, NAMESPACE)


def wait_for(engine: Engine) -> None:
    """Wait until the port is forwarded."""
    for _ in range(50):
        try:
            engine.models()
        except urllib3.exceptions.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the engine's port is not forwarded")


def real_engine(image: str, key: str) -> dict[str, Any]:
    """Return the pod. The probe runs inside it, since the engine listens on loopback."""
    probe = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/health')"
    return engine_pod(
        NAMESPACE,
        POD,
        image,
        app=POD,
        folder=VOLUME,
        arguments=[
            "--model=/models/base",
            f"--served-model-name={MODEL}",
            "--host=127.0.0.1",
            f"--port={PORT}",
            "--max-loras=1",
            "--max-cpu-loras=2",
            "--max-lora-rank=16",
            *([f"--api-key={key}"] if key else []),
        ],
        probe={"exec": {"command": ["python3", "-c", probe]}},
        also_at=[str(SEEN_AT)],
    )
