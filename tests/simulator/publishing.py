"""What trainers and importers write: documents of the registry's own code, in a real S3 store. All calls block."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from threading import Lock
from typing import Any, Final

from graft_registry.bases import BaseRegistry
from graft_registry.config import Credentials, RegistryConfig
from graft_registry.digests import digest_of, sha256_digest
from graft_registry.documents import (
    BaseDrift,
    BaseLocation,
    BaseManifest,
    BaseReference,
    BaseSource,
    Fingerprint,
    StoredFile,
    StoredVersion,
    VersionDraft,
    timestamp,
)
from graft_registry.documents.base import base_digest
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry

Object = dict[str, Any]
BASE_LOSS: Final = 2.0
GOOD_LOSS: Final = 1.0
BAD_LOSS: Final = 3.0
PARITY: Final = {
    "dtype": "float32",
    "tokens": 9,
    "mean_kl": 0.0,
    "max_logit_difference": 0.0,
    "argmax_agreement": 1.0,
}
"""What a version says of the merged model that it holds."""
BAD_SEED: Final = 13
"""A training with this seed ends worse than its base."""


class Publisher:
    """Writes to one bucket. Safe to share between threads."""

    def __init__(self, config: RegistryConfig, credentials: Credentials, folder: Path) -> None:
        self._store = ObjectStore(config, credentials)
        self._adapter_files = adapter_files(folder / "adapter")
        self._base_files = base_files(folder / "base")
        self._bases: dict[str, BaseManifest] = {}
        self._lock = Lock()
        self.trained: list[tuple[str, str, str]] = []
        """(namespace, adapter, recipe) of every training that ran to its end without finding its version there."""
        self.versions: dict[tuple[str, str, int], str] = {}
        """Digest of every version that was published here."""

    def import_base(self, request: Object) -> str:
        """Resolve a source as the import Job does; return the base digest."""
        source = BaseSource.model_validate(request["source"])
        manifest = base_manifest(request["namespace"], request["name"], source)
        registry = BaseRegistry(self._store, request["namespace"], request["name"])
        registry.publish(manifest, self._base_files)
        if (previous := request.get("previousDigest")) not in (None, manifest.digest):
            change = {"verdict": "Near", "relative_change": 0.01}
            registry.record_drift(
                BaseDrift.model_validate(
                    {"previous": previous, "digest": manifest.digest, "created_time": timestamp()} | change
                )
            )
        self._bases[manifest.digest] = manifest
        return registry.record_source(source, manifest.digest)

    def train(self, run: Object) -> StoredVersion:
        """Publish the version of a run as the trainer does; return the one that was there where there was one."""
        registry = AdapterRegistry(self._store, run["namespace"], run["adapter"])
        existing = registry.find(run["recipe"])
        if existing is not None:
            return existing
        stored = registry.publish(version_draft(run, self._base_of(run)), self._adapter_files)
        with self._lock:
            self.trained.append((run["namespace"], run["adapter"], run["recipe"]))
            self.versions[run["namespace"], run["adapter"], stored.manifest.number] = stored.digest
        return stored

    def stored(self, namespace: str, adapter: str) -> dict[int, StoredVersion]:
        """Return all versions of an adapter that the registry has now, by number."""
        registry = AdapterRegistry(self._store, namespace, adapter)
        return {number: registry.read(number) for number in registry.numbers()}

    def _base_of(self, run: Object) -> BaseManifest:
        digest = run["base"]["digest"]
        if digest not in self._bases:
            self._bases[digest] = BaseRegistry(self._store, run["namespace"], run["base"]["name"]).read(digest)
        return self._bases[digest]


def base_manifest(namespace: str, name: str, source: BaseSource) -> BaseManifest:
    """Return a base of four layers whose weights are those of its source alone."""
    weights = sha256_digest(digest_of(source.to_dict()).encode())
    fingerprint = Fingerprint(
        architecture="LlamaForCausalLM",
        hidden_size=256,
        intermediate_size=688,
        layers=4,
        attention_heads=8,
        key_value_heads=4,
        head_dim=32,
        vocab_size=4096,
        tie_word_embeddings=True,
        max_positions=2048,
        rope=None,
        quantization=None,
        dtype="float32",
        tokenizer_digest=sha256_digest(b"tokenizer"),
        chat_template_digest=None,
        shapes_digest=sha256_digest(b"shapes"),
    )
    modules = {f"model.layers.{layer}.self_attn.{part}_proj": (256, 256) for layer in range(4) for part in "qkvo"}
    return BaseManifest(
        namespace=namespace,
        name=name,
        digest=base_digest(weights, fingerprint),
        source=source,
        revision=weights,
        weights_digest=weights,
        fingerprint=fingerprint,
        linear_modules=modules,
        parameters=3_200_000,
        location=BaseLocation(registry=True),
        files=(StoredFile(path="config.json", size=2, sha256=sha256_digest(b"{}")[7:]),),
        created_time=timestamp(),
    )


def version_draft(run: Object, base: BaseManifest) -> VersionDraft:
    """Return what the trainer would say of the version that a run has made."""
    loss = BAD_LOSS if run["training"]["seed"] == BAD_SEED else GOOD_LOSS
    lora = run["lora"]
    return VersionDraft.model_validate(
        {
            "namespace": run["namespace"],
            "adapter": run["adapter"],
            "recipe": run["recipe"],
            "reason": run["reason"],
            "parent": run["parent"],
            "warm_start": run["warmStart"],
            "uid": run["uid"],
            "generation": run["generation"],
            "base": BaseReference(name=base.name, revision=base.revision, digest=base.digest, source=base.source),
            "dataset": dataset_record(run) if run["dataset"] else None,
            "imported": imported_from(run["adapterSource"]) if run["adapterSource"] else None,
            "method": run["method"],
            "trained_on": "nf4" if run["method"] == "QLoRA" else "float32",
            "servable": "MultiAdapter",
            "hyperparameters": {"lora": lora, "training": run["training"]},
            "seed": run["training"]["seed"],
            "shape": {"rank": lora["rank"], "alpha": lora["alpha"], "targetModules": lora["targetModules"]}
            | {"trainableParameters": 1, "allParameters": 2},
            "libraries": {},
            "image": run["image"],
            "merge": PARITY if run["serving"]["mode"] == "Merged" else None,
            "metrics": {"evalLoss": loss, "baseEvalLoss": BASE_LOSS, "trainLoss": loss, "lateImprovement": 0.0},
        }
    )


def imported_from(source: Object) -> Object:
    """Return what the trainer says of an adapter that it has imported: its content is that of its description."""
    return {"source": source["source"], "digest": source["digest"] or content_of(source["source"])}


def content_of(location: Object) -> str:
    """Return the digest of what a source holds."""
    return digest_of(location)


def dataset_record(run: Object) -> Object:
    """Return what the trainer says of its rows: their content is that of their description."""
    described = digest_of(run["dataset"]["source"])
    source = run["dataset"]["source"].get("s3") or {}
    uri = source.get("uri", "s3://elsewhere/rows.jsonl")
    return {"uri": uri, "digest": described, "evalDigest": described, "rows": 90, "evalRows": 10}


def adapter_files(folder: Path) -> Path:
    """Write the smallest adapter that may be published, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1}))
    tensor = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
    header = json.dumps({"base_model.model.lora_A.weight": tensor}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return folder


def base_files(folder: Path) -> Path:
    """Write the one file that a base has here, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    return folder
