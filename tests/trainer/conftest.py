"""A base that really knows something, an object store, and one call that is a pod of the trainer."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from tests.trainer.s3_server import S3Server
from tests.trainer.toy_task import EVALUATION, TRAINING

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.documents import BaseManifest, timestamp
from graft_registry.models.fingerprint import identify
from graft_registry.runs.checkpoints import CheckpointStore
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion
from graft_trainer.__main__ import main

NAMESPACE = "team-a"
STEPS = 120
"""Optimizer steps of a run: enough to learn the task, and to be interrupted in the middle."""

PLAIN_ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
}
"""What makes torch, MKL, and oneDNN use no instruction that some processors lack. Each set of instructions rounds in
its own way, and what some dozens of steps make of that is another base: one from which an adapter learns less, for
one. More threads than free cores would make these tiny matrices slower, and add in another order."""

# Here, and not in a fixture: torch reads them when it is imported, which modules of tests do while they are collected.
os.environ.update(PLAIN_ARITHMETIC)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none."""
    if Path("/dev/nvidiactl").exists():
        return
    without_gpu = [item for item in items if item.get_closest_marker("gpu") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in without_gpu])
    items[:] = without_gpu


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server with an empty bucket ``graft``, whose credentials are in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        server = S3Server()
        server.start()
        boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1").create_bucket(Bucket="graft")
        yield server
        server.stop()


@pytest.fixture(scope="session")
def s3_endpoint(s3_server: S3Server) -> str:
    """The address of the S3 server."""
    return s3_server.endpoint


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy base as the init container leaves it, manifest included."""
    # Torch takes seconds to import, which the collection of all tests would wait for.
    from tests.trainer.toy_base import build_base

    folder = tmp_path_factory.mktemp("base")
    build_base(folder)
    identity = identify(folder)
    manifest = BaseManifest.model_validate(
        {
            "namespace": NAMESPACE,
            "name": "toy",
            "digest": identity.digest,
            "source": {"s3": {"uri": "s3://models/toy"}},
            "revision": "sha256:" + "0" * 64,
            "weightsDigest": identity.weights_digest,
            "fingerprint": identity.fingerprint,
            "linearModules": identity.linear_modules,
            "parameters": identity.parameters,
            "location": {"registry": True},
            "files": identity.files,
            "createdTime": timestamp(),
        }
    )
    (folder / ".graft").mkdir()
    (folder / ".graft" / "base.json").write_bytes(manifest.to_bytes())
    return folder


@dataclass
class Pod:
    """What the operator would start: a run document and an environment, run as often as wanted."""

    config: dict[str, Any]
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    """Variables that Kubernetes or the operator would set besides."""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> AdapterRegistry:
        return AdapterRegistry(self.store, NAMESPACE, self.config["adapter"])

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(RegistryConfig.model_validate(self.config["registry"]))

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.json").write_text(json.dumps(self.config))
        self.environment = {
            "GRAFT_RUN_CONFIG": str(self.folder / "run.json"),
            "GRAFT_WORK_DIR": str(self.folder / "work"),
            "GRAFT_TERMINATION_LOG": str(self.folder / "termination"),
            **self.variables,
        }

    def run(self, *arguments: str) -> int:
        """Run the trainer in this process, as ``python -m graft_trainer`` with the arguments does."""
        self.prepare()
        handler, log_handlers = signal.getsignal(signal.SIGTERM), logging.root.handlers[:]
        # The trainer sets variables of its own, which must not outlive it here.
        with mock.patch.dict(os.environ, self.environment):
            try:
                return main(arguments)
            finally:
                signal.signal(signal.SIGTERM, handler)
                logging.root.handlers[:] = log_handlers

    def start(self) -> subprocess.Popen[bytes]:
        """Start the trainer in a process of its own, which can be killed."""
        self.prepare()
        return subprocess.Popen(
            [sys.executable, "-m", "graft_trainer"],
            env={**os.environ, **self.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def termination(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "termination").read_text())
        return document

    def version(self) -> StoredVersion:
        stored = self.registry.find(self.config["recipe"])
        assert stored is not None
        return stored

    @property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.store, NAMESPACE, self.config["adapter"], self.config["recipe"])

    def weights_sha256(self) -> str:
        files = {file.path: file.sha256 for file in self.version().manifest.files}
        return files["adapter_model.safetensors"]


@pytest.fixture(scope="session")
def new_pod(s3_endpoint: str, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pod]:
    """Make a run that learns the toy task, of an adapter and a recipe that nobody else uses."""
    base_digest = json.loads((base / ".graft" / "base.json").read_text())["digest"]
    names: set[str] = set()

    def make(name: str) -> Pod:
        assert name not in names, f"{name!r} is another test's: its version would be adopted"
        names.add(name)
        folder = tmp_path_factory.mktemp("pod")
        adapter = digest_of(name).removeprefix("sha256:")[:12]
        run = run_document(adapter, endpoint=s3_endpoint, base=base, base_digest=base_digest)
        for rows, path in ((TRAINING, "train.jsonl"), (EVALUATION, "eval.jsonl")):
            (folder / path).write_text("\n".join(map(json.dumps, rows)))
        run["dataset"]["source"] = mounted(folder / "train.jsonl")
        run["dataset"]["evaluation"]["source"] = mounted(folder / "eval.jsonl")
        return Pod(run, folder)

    return make


@pytest.fixture
def pod(new_pod: Callable[[str], Pod], request: pytest.FixtureRequest) -> Pod:
    """A run of this test's own."""
    return new_pod(request.node.nodeid)


@pytest.fixture
def no_more_rendering(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let whoever reads or renders rows from now on fail."""

    # As above.
    from graft_trainer import preparation
    from graft_trainer.row_files import kept

    def begin() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("rows are prepared a second time")

        monkeypatch.setattr(kept, "read_sets", refuse)
        for name in ("render_rows", "render_preferences"):
            monkeypatch.setattr(preparation, name, refuse)

    return begin


@pytest.fixture(scope="session")
def trained_pod(new_pod: Callable[[str], Pod]) -> Pod:
    """A run that went through without interruption."""
    pod = new_pod("uninterrupted")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert pod.run() == 0
    return pod


def mounted(path: Path) -> dict[str, Any]:
    """The source of a file that is mounted from a ConfigMap."""
    return {"file": {"path": str(path), "uri": f"configMap:rows/{path.name}"}}


def run_document(adapter: str, *, endpoint: str, base: Path, base_digest: str) -> dict[str, Any]:
    """A run document but for its rows."""
    return {
        "schema": "graft.dev/run/v1",
        "namespace": NAMESPACE,
        "adapter": adapter,
        "uid": "0b9c5a4e-0000-4000-8000-000000000000",
        "generation": 1,
        "recipe": digest_of(adapter),
        "reason": "SpecChanged",
        "parent": None,
        "image": "trainer@sha256:test",
        "registry": {"endpoint": endpoint, "bucket": "graft", "prefix": "registry"},
        "base": {"name": "toy", "digest": base_digest, "path": str(base)},
        "dataset": {"source": None, "format": "Auto", "digest": None, "evaluation": {"splitPercent": None}},
        "method": "LoRA",
        "lora": {"rank": 8, "alpha": 16, "dropout": "0.05", "targetModules": ["all-linear"], "bias": "None"},
        "training": {
            "epochs": 3,
            "maxSteps": STEPS,
            "batchSize": 4,
            "gradientAccumulation": 2,
            "learningRate": "5e-3",
            "schedule": "Cosine",
            "warmupRatio": "0.05",
            "weightDecay": "0.0",
            "maxGradNorm": "1.0",
            "maxSequenceLength": 64,
            "attentionGroupSize": 16,
            "packing": False,
            "seed": 42,
            "precision": "Auto",
            "evalSteps": 30,
            "earlyStoppingPatience": None,
            "checkpointSeconds": 600,
            "loggingSteps": 10,
            "gradientCheckpointing": False,
        },
        "evaluation": {"probes": [], "maxProbeRows": 32},
    }
