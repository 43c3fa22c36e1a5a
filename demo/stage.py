"""What the demo plays with: models, rows and manifests on disk, their copies in S3, and a namespace to work in."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from demo import objects
from demo.bucket import Bucket
from demo.client import Client
from demo.cluster import Cluster, CommandFailedError, Object
from demo.display import say
from demo.environment import Environment

NAMESPACE = "graft-demo"
BASE = "tiny"
ADAPTERS = ("topic", "speech")
SOURCES_PREFIX = "demo-sources"
REPOSITORY = Path(__file__).resolve().parents[1]

GATE = {"maxRegression": "0.5"}
"""Wide, since the demo compares small models on few rows; the default of 0.05 suits real ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubBase:
    """A base of the user's own on the Hugging Face hub, in place of the demo's."""

    repo: str
    revision: str = "main"
    next_revision: str | None = None
    """What the base is bumped to; without it the demo has no bump to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that the chapters of the story use."""

    environment: Environment
    cluster: Cluster
    bucket: Bucket
    client: Client
    folder: Path
    """Built models, rows and manifests."""
    hub: HubBase | None

    @classmethod
    def of(cls, environment: Environment, hub: HubBase | None) -> Stage:
        """Prepare to work in that environment; nothing is done yet."""
        cluster = Cluster.of(environment)
        return cls(
            environment=environment,
            cluster=cluster,
            bucket=Bucket(environment.storage),
            client=Client(cluster, NAMESPACE, environment.images["agent"]),
            folder=environment.cache / "demo" / "stage",
            hub=hub,
        )

    @property
    def manifests(self) -> Path:
        """Folder of the YAML files that are applied."""
        return self.folder / "manifests"

    def build_models(self) -> None:
        """Build bases and rows; the first time it takes minutes. Raises CommandFailedError."""
        command = [sys.executable, "-u", "-m", "demo.models.build", "--out", str(self.folder)]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                say(f"    {line.rstrip()}")
        if process.returncode:
            raise CommandFailedError(f"`python -m demo.models.build` failed with status {process.returncode}")

    def upload(self) -> int:
        """Bring bases and rows to S3; return how many files had to be sent."""
        names = ("data",) if self.hub else ("base-v1", "base-v2", "data")
        return sum(self.bucket.upload(self.folder / name, f"{SOURCES_PREFIX}/{name}") for name in names)

    def open_namespace(self) -> None:
        """Make the tenant's namespace, its credentials, and the pod that asks."""
        self.cluster.apply(objects.namespace(NAMESPACE))
        self.cluster.apply(objects.registry_secret(NAMESPACE, self.environment.storage))
        self.client.ensure()

    def write_manifests(self) -> None:
        """Write every manifest of the story as a YAML file, for people to read and to apply again."""
        self.manifests.mkdir(parents=True, exist_ok=True)
        bodies = {
            "base": self.base(1),
            "base-v2": self.base(2),
            **{name: self.adapter(name, name) for name in ADAPTERS},
            "topic-v2": self.adapter("topic", "topic-v2"),
        }
        for name, body in bodies.items():
            self.write_manifest(name, body)

    def write_manifest(self, name: str, body: Object) -> None:
        """Write one of them."""
        text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
        (self.manifests / f"{name}.yaml").write_text(text, encoding="utf-8")

    def apply(self, *names: str) -> None:
        """Apply manifests by their file names."""
        self.cluster.apply(*(yaml.safe_load((self.manifests / f"{name}.yaml").read_text()) for name in names))

    def base(self, number: int) -> Object:
        """Return the BaseModel with its first or second source."""
        if self.hub is None:
            source: Object = {"s3": {"uri": self.bucket.uri(f"{SOURCES_PREFIX}/base-v{number}")}}
        else:
            revision = self.hub.revision if number == 1 else self.hub.next_revision or self.hub.revision
            source = {"huggingFace": {"repo": self.hub.repo, "revision": revision}}
        return objects.base_model(NAMESPACE, BASE, source, replicas=2)

    def adapter(self, name: str, settings: str) -> Object:
        """Return a LoraAdapter with the named settings of the built models."""
        dataset = {
            "s3": {"uri": self.bucket.uri(f"{SOURCES_PREFIX}/data/{name}.train.jsonl")},
            "evaluation": {"s3": {"uri": self.bucket.uri(f"{SOURCES_PREFIX}/data/{name}.eval.jsonl")}},
        }
        chosen: dict[str, Any] = json.loads((self.folder / "specs" / f"{settings}.json").read_text())
        return objects.lora_adapter(NAMESPACE, name, BASE, dataset, chosen | {"evaluation": GATE})

    def live_adapter(self, name: str) -> Object:
        """Return the adapter as the API server has it. Raises LookupError."""
        adapter = self.cluster.get("loraadapter", name, NAMESPACE)
        if adapter is None:
            raise LookupError(f"LoraAdapter {name} is gone from namespace {NAMESPACE}: run `make demo` again")
        return adapter

    def training_jobs(self) -> set[str]:
        """Return the names of the training Jobs."""
        jobs = self.cluster.list("job", NAMESPACE, "graft.dev/component=training")
        return {job["metadata"]["name"] for job in jobs}
