"""Where the scenes are played: a namespace with a base and an adapter that is asked, and a folder with manifests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo import objects, release
from demo.bucket import Bucket
from demo.client import Client
from demo.cluster import Cluster, Object
from demo.environment import Environment, read_environment
from demo.goals import settled
from demo.progress import follow
from demo.questions import read_rows
from demo.stage import SOURCES_PREFIX
from demo.stage import Stage as Sources
from tests.cli.recordings.moments import Moment

NAMESPACE: Final = "demo"
BASE, ADAPTER = "tiny", "topic"
MISLED: Final = "speech"
"""An adapter whose rows can't be used until they are corrected."""
MISLED_ROWS: Final = f"{SOURCES_PREFIX}/recordings/{MISLED}.jsonl"
OURS: Final = {"app.kubernetes.io/part-of": "graft-recordings"}
ADAPTERS: Final = "loraadapters.graft.dev"
REQUESTS_PER_SECOND: Final = 4.0
PATIENCE_SECONDS: Final = 900.0

CANARY: Final[Object] = {
    "strategy": "Canary",
    "steps": [{"weight": 20, "seconds": 20}, {"weight": 50, "seconds": 20}],
    "limits": {"minRequests": 10},
    "rollbackWindowSeconds": 1800,  # so that the scenes after it still find both versions loaded
}
GATE: Final[Object] = {"maxRegression": "0.5"}

MISTAKEN: Final = """\
apiVersion: graft.dev/v1alpha1
kind: LoraAdapter
metadata: {name: support}
spec:
  baseModelRef: {name: llama}
  dataset: {s3: {uri: s3://data/support.jsonl}}
  lora: {rank: 64, alfa: 128}
  training: {learningRate: 2e-4}
  pod: {resources: {limits: {nvidia.com/gpu: "1"}}}
"""
LLAMA: Final = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
"""The shape of a base of eight thousand million parameters, as its `config.json` tells it."""


class NotOursError(Exception):
    """What would have to be removed may be somebody else's. The message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A cluster with Graft, and a folder that a person works in."""

    facts: Environment
    cluster: Cluster
    client: Client
    sources: Sources
    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Stage:
        """Use the cluster of `make cluster-up`, or your own: see demo/environment.py."""
        facts = read_environment()
        cluster = Cluster.of(facts)
        client = Client(cluster, NAMESPACE, facts.images["agent"])
        return cls(facts=facts, cluster=cluster, client=client, sources=Sources.of(facts, None), folder=folder)

    def prepare(self) -> None:
        """Begin anew: install Graft where it is not, and have the first version trained and served.

        Raises NotOursError before anything is removed that another run of the recordings has not left.
        """
        if self.cluster.get("deployment", "graft-operator", release.NAMESPACE) is None:
            release.install(self.cluster, self.facts)
        self.refuse_what_is_not_ours()
        self.take_down()
        self.sources.build_models()
        self.sources.upload()
        source: Object = {"s3": {"uri": self._bucket.uri(f"{SOURCES_PREFIX}/base-v1")}}
        namespace = objects.namespace(NAMESPACE)
        namespace["metadata"]["labels"] = OURS
        self.cluster.apply(namespace)
        self.cluster.apply(objects.registry_secret(NAMESPACE, self.facts.storage))
        self.cluster.apply(objects.base_model(NAMESPACE, BASE, source), self.adapter())
        self.client.ensure()
        follow(self.cluster, NAMESPACE, settled, (ADAPTER,), what="version 1 answers", timeout=PATIENCE_SECONDS)

    def refuse_what_is_not_ours(self) -> None:
        """Raise NotOursError where somebody else has the namespace, or versions of one of that name."""
        namespace = self.cluster.get("namespace", NAMESPACE)
        if namespace is not None and OURS.items() <= namespace["metadata"].get("labels", {}).items():
            return
        kept = self._bucket.keys(f"{NAMESPACE}/")
        if namespace is not None or kept:
            what = f"namespace {NAMESPACE}" if namespace else self._bucket.uri(f"{NAMESPACE}/")
            raise NotOursError(f"{what} is there, and may hold what somebody needs: remove it before `make recordings`")

    def take_down(self) -> None:
        """Remove the namespace and what it has in the bucket: a version that is there would not be trained again."""
        for kind in (ADAPTERS, "basemodels.graft.dev"):
            if self.cluster.get("namespace", NAMESPACE):
                self.cluster.kubectl("delete", kind, "--all", "-n", NAMESPACE, timeout=300)
        self.cluster.delete("namespace", NAMESPACE)
        self._bucket.clear(f"{NAMESPACE}/")

    def write_files(self) -> None:
        """Write what the person has at hand."""
        (self.folder / "support.yaml").write_text(MISTAKEN, encoding="utf-8")
        (self.folder / "llama").mkdir(exist_ok=True)
        (self.folder / "llama/config.json").write_text(json.dumps(LLAMA), encoding="utf-8")

    def adapter(self, name: str = ADAPTER, *, rows: str = f"{SOURCES_PREFIX}/data/{ADAPTER}.train.jsonl") -> Object:
        """Return a LoraAdapter that is trained on rows of the bucket."""
        evaluation = self._bucket.uri(f"{SOURCES_PREFIX}/data/{name}.eval.jsonl")
        dataset: Object = {"s3": {"uri": self._bucket.uri(rows)}, "evaluation": {"s3": {"uri": evaluation}}}
        chosen: dict[str, Any] = json.loads((self.sources.folder / f"specs/{name}.json").read_text())
        more = {"evaluation": GATE, "serving": {"rollout": CANARY}}
        return objects.lora_adapter(NAMESPACE, name, BASE, dataset, chosen | more)

    def upload_rows(self, *, correct: bool) -> None:
        """Upload the rows of the misled adapter: as they should be, or with a role that no format knows."""
        text = (self.sources.folder / f"data/{MISLED}.small.jsonl").read_text(encoding="utf-8")
        self._bucket.put(MISLED_ROWS, (text if correct else text.replace('"assistant"', '"bot"')).encode())

    @contextmanager
    def overwritten(self, version: int, path: str) -> Iterator[None]:
        """Have a file of a version be another one than was published, as if somebody had written to the bucket."""
        adapter = f"{NAMESPACE}/adapters/{ADAPTER}"
        files = self._bucket.read_json(f"{adapter}/versions/{version:08d}/manifest.json")["files"]
        key = next(f"{adapter}/blobs/sha256/{file['sha256']}" for file in files if file["path"] == path)
        published = self._bucket.read(key)
        self._bucket.put(key, published.upper())
        try:
            yield
        finally:
            self._bucket.put(key, published)

    def sees(self, moment: Moment, name: str = ADAPTER) -> bool:
        """Whether it is that moment in an adapter's life."""
        found = self.cluster.get(ADAPTERS, name, NAMESPACE)
        return found is not None and moment(found)

    def wait_for(self, moment: Moment, name: str = ADAPTER) -> None:
        """Wait behind the scenes. Raises WaitTimedOutError."""

        def is_there(found: Mapping[str, Object]) -> bool:
            return name in found and moment(found[name])

        what = f"{name} is where the scene begins"
        self.cluster.wait_for(ADAPTERS, NAMESPACE, is_there, what=what, name=name, timeout=PATIENCE_SECONDS)

    @contextmanager
    def requests(self) -> Iterator[None]:
        """Have the adapter asked all the time, as its users would, so that a canary is measured."""
        rows = read_rows(self.sources.folder / "data/topic.eval.jsonl", 40)
        url = f"http://graft-{BASE}.{NAMESPACE}.svc:8000"
        with self.client.load(url, {ADAPTER: [row.question for row in rows]}, rate=REQUESTS_PER_SECOND):
            yield

    def persons_environment(self) -> Mapping[str, str]:
        """Return the variables of a person with kubectl, the plugin and a login of the bucket; none is shown."""
        programs = self.folder / ".bin"
        programs.mkdir(exist_ok=True)
        plugin = programs / "kubectl-graft"
        plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m graft_cli "$@"\n', encoding="utf-8")
        plugin.chmod(0o755)
        storage = self.facts.storage
        kept = {name: value for name, value in os.environ.items() if name in {"LANG", "PYTHONPATH"}}
        return kept | {
            "PATH": f"{programs}:{self.facts.programs}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(str(Path(part).resolve()) for part in sys.path if part),
            "HOME": str(self.folder),
            "KUBECONFIG": str(self._kubeconfig()),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "GRAFT_REGISTRY": self._bucket.uri("").rstrip("/"),
            "AWS_ENDPOINT_URL": storage.endpoint,
            "AWS_DEFAULT_REGION": storage.region,
            "AWS_ACCESS_KEY_ID": storage.access_key,
            "AWS_SECRET_ACCESS_KEY": storage.secret_key,
        }

    @property
    def _bucket(self) -> Bucket:
        return self.sources.bucket

    def _kubeconfig(self) -> Path:
        """Return a kubeconfig whose namespace is the scenes', for their commands to name none."""
        path = self.folder / ".kubeconfig"
        path.touch(mode=0o600)
        path.write_text(self.cluster.kubectl("config", "view", "--raw", "--flatten"), encoding="utf-8")
        self.cluster.kubectl("config", "set-context", "--current", f"--namespace={NAMESPACE}", f"--kubeconfig={path}")
        return path
