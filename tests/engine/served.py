"""The engine as clients of Graft see it: behind an agent, which runs on this machine as it does in its container."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer
from tests.engine.engine import Adapters, Engine
from tests.ports import free_port
from tests.serving.published import NAMESPACE, SOURCE, base_manifest, wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.documents import (
    AdapterShape,
    BaseManifest,
    BaseReference,
    DatasetRecord,
    VersionDraft,
)
from graft_registry.documents.base import BaseLocation
from graft_registry.models.fingerprint import identify
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = "support"
BASE = "tiny"
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An agent that is ready."""

    engine: Engine
    url: str
    """Where clients ask."""
    model: str
    """What they ask for: an adapter, or the base where there can be none."""
    base: str = BASE

    @property
    def version(self) -> str:
        """What answers name."""
        return f"{self.model}@base" if self.model == self.base else f"{self.model}@v1"


@contextmanager
def served_by_agent(engine: Engine, folder: Path) -> Iterator[Served]:
    """Run an agent in front of the engine until the block ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    os.environ |= {"AWS_ACCESS_KEY_ID": "engine", "AWS_SECRET_ACCESS_KEY": "engine"}
    endpoint = "http://{}:{}".format(*s3.get_host_and_port())
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="graft")
    ports = {name: free_port() for name in ("api", "peer", "admin")}
    kept = engine.adapters.agent_folder if engine.adapters else None
    environment = _prepare(engine, folder, kept, RegistryConfig(endpoint=endpoint, bucket="graft"), ports)
    log = folder / "agent.log"
    with log.open("wb") as written:
        agent = subprocess.Popen([sys.executable, "-m", "graft_serving"], env=environment, cwd=ROOT, stderr=written)
    try:
        _wait_until_ready(ports["admin"], agent, log)
        yield Served(engine=engine, url=f"http://127.0.0.1:{ports['api']}", model=ADAPTER if kept else BASE)
    finally:
        agent.terminate()
        agent.wait()
        s3.stop()


def _prepare(
    engine: Engine, folder: Path, kept: Path | None, registry: RegistryConfig, ports: dict[str, int]
) -> dict[str, str]:
    """Publish the adapter, if there can be one, and want it; return the agent's environment."""
    base, wanted = base_manifest(), list[dict[str, Any]]()
    if engine.adapters is not None and kept is not None:
        base = _real_base(engine.adapters)
        wanted = [wanted_adapter(ADAPTER, [_published(ObjectStore(registry), base, engine.adapters)])]
        shutil.rmtree(kept, ignore_errors=True)
    (folder / "base" / ".graft").mkdir(parents=True)
    (folder / "base" / ".graft" / "base.json").write_bytes(base.to_bytes())
    (folder / "wanted.json").write_text(json.dumps(wanted_set(base, *wanted)))
    settings = {
        "NAMESPACE": NAMESPACE,
        "POD": "engine-0",
        "REGISTRY": registry.model_dump_json(by_alias=True),
        "WANTED_FILE": str(folder / "wanted.json"),
        "ENGINE_URL": engine.url,
        "BASE_DIR": str(folder / "base"),
        "ADAPTERS_DIR": str(kept or folder / "adapters"),
        "LISTEN": "127.0.0.1",
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
        "DRAIN_SECONDS": "0",
    }
    return {**os.environ, **{f"GRAFT_{name}": value for name, value in settings.items()}}


def _real_base(adapters: Adapters) -> BaseManifest:
    identity = identify(adapters.base)
    return BaseManifest(
        namespace=NAMESPACE,
        name=BASE,
        digest=identity.digest,
        source=SOURCE,
        revision="one",
        weights_digest=identity.weights_digest,
        fingerprint=identity.fingerprint,
        linear_modules=identity.linear_modules,
        parameters=identity.parameters,
        location=BaseLocation(registry=True),
        files=identity.files,
        created_time="2026-01-01T00:00:00Z",
    )


def _published(store: ObjectStore, base: BaseManifest, adapters: Adapters) -> StoredVersion:
    """Publish the plain adapter; without golden prompts, since nobody has trained it."""
    draft = VersionDraft(
        namespace=NAMESPACE,
        adapter=ADAPTER,
        recipe=digest_of(ADAPTER),
        reason="SpecChanged",
        uid="uid",
        generation=1,
        base=BaseReference(name=BASE, revision="one", digest=base.digest, source=SOURCE),
        dataset=DatasetRecord(uri="s3://data/rows.jsonl", digest=digest_of("rows"), rows=1),
        method="LoRA",
        trained_on="float32",
        servable="MultiAdapter",
        hyperparameters={},
        seed=1,
        shape=AdapterShape(
            rank=8, alpha=16, target_modules=("q_proj",), trainable_parameters=1, all_parameters=base.parameters
        ),
        libraries={},
    )
    return AdapterRegistry(store, NAMESPACE, ADAPTER).publish(draft, adapters.folder / "plain")


def _wait_until_ready(port: int, agent: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline or agent.poll() is not None:
                raise AssertionError(f"the agent is not ready:\n{log.read_text()[-5000:]}") from None
            time.sleep(0.2)
