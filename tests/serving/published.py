"""A base and versions of adapters as their publishers leave them: real documents, real files, tiny weights."""

import json
import struct
from pathlib import Path
from typing import Any

from tests.serving.fake_engine import BASE_WEIGHTS, answer_text, answer_token_ids

from graft_registry.digests import digest_of
from graft_registry.documents import (
    AdapterShape,
    BaseManifest,
    BaseReference,
    BaseSource,
    DatasetRecord,
    GoldenPrompt,
    Probe,
    VersionDraft,
)
from graft_registry.documents.base import BaseLocation, Fingerprint, S3Source, base_digest
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion

NAMESPACE = "team-a"
HIDDEN = 8
MODULE = "model.layers.0.self_attn.q_proj"
SOURCE = BaseSource(s3=S3Source(uri="s3://models/tiny"))


def base_manifest(seed: str = "one") -> BaseManifest:
    """A base whose weights differ by `seed`."""
    fingerprint = Fingerprint(
        architecture="LlamaForCausalLM",
        hidden_size=HIDDEN,
        intermediate_size=16,
        layers=1,
        attention_heads=1,
        key_value_heads=1,
        head_dim=HIDDEN,
        vocab_size=32,
        tie_word_embeddings=True,
        max_positions=64,
        rope=None,
        quantization=None,
        dtype="float32",
        tokenizer_digest=digest_of("tokenizer"),
        chat_template_digest=None,
        shapes_digest=digest_of("shapes"),
    )
    weights = digest_of(seed)
    return BaseManifest(
        namespace=NAMESPACE,
        name="tiny",
        digest=base_digest(weights, fingerprint),
        source=SOURCE,
        revision=seed,
        weights_digest=weights,
        fingerprint=fingerprint,
        linear_modules={MODULE: (HIDDEN, HIDDEN)},
        parameters=64,
        location=BaseLocation(registry=True),
        files=(),
        created_time="2026-01-01T00:00:00Z",
    )


def safetensors_bytes(tensors: dict[str, tuple[tuple[int, ...], list[float]]]) -> bytes:
    """Float32 tensors in the safetensors format."""
    header: dict[str, Any] = {}
    data = b""
    for name, (shape, values) in tensors.items():
        packed = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def write_adapter(directory: Path, *, rank: int = 2, value: float = 0.5) -> bytes:
    """Write an adapter whose every weight is `value`; return the bytes of its weights' file."""
    directory.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"], "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    weights = safetensors_bytes(
        {
            f"base_model.model.{MODULE}.lora_A.weight": ((rank, HIDDEN), [value] * rank * HIDDEN),
            f"base_model.model.{MODULE}.lora_B.weight": ((HIDDEN, rank), [value] * rank * HIDDEN),
        }
    )
    (directory / "adapter_model.safetensors").write_bytes(weights)
    return weights


def golden_prompts(weights: bytes, count: int = 4) -> tuple[GoldenPrompt, ...]:
    """What a trainer that sees `weights` would record."""
    return tuple(_golden_prompt(weights, [number, number + 1]) for number in range(count))


def _golden_prompt(weights: bytes, prompt: list[int]) -> GoldenPrompt:
    token_ids = answer_token_ids(weights, prompt, 6)
    return GoldenPrompt(
        prompt_token_ids=tuple(prompt),
        prompt=f"prompt {prompt}",
        answer=answer_text(token_ids),
        answer_token_ids=tuple(token_ids),
        base_answer=answer_text(answer_token_ids(BASE_WEIGHTS, prompt, 6)),
    )


def probes(weights: bytes, count: int = 4) -> tuple[Probe, ...]:
    """Questions whose right answers are those of a model with these weights."""
    prompts = [[number, number + 1, number + 2] for number in range(count)]
    answers = [answer_text(answer_token_ids(weights, prompt, 6)) for prompt in prompts]
    return tuple(
        Probe(prompt_token_ids=tuple(prompt), expected=answer, max_tokens=6)
        for prompt, answer in zip(prompts, answers, strict=True)
    )


class Publisher:
    """Publishes versions into a registry, and remembers their weights to tell answers apart."""

    def __init__(self, store: ObjectStore, directory: Path, base: BaseManifest) -> None:
        self._store = store
        self._directory = directory
        self._base = base
        self._count = 0
        self.weights: dict[tuple[str, int], bytes] = {}

    def publish(
        self,
        adapter: str,
        *,
        base: BaseManifest | None = None,
        rank: int = 2,
        value: float | None = None,
        golden_of: bytes | None = None,
        golden_count: int = 4,
        servable: str = "MultiAdapter",
        probes_of: float | None = None,
        merged: bool = False,
    ) -> StoredVersion:
        """Publish the next version of `adapter`.

        `golden_of` are the weights that its golden answers come from; weights of the value `probes_of` answer its
        probes right. `merged` puts a merged model beside the adapter.
        """
        self._count += 1
        directory = self._directory / f"{adapter}-{self._count}"
        weights = write_adapter(directory, rank=rank, value=self._count if value is None else value)
        if merged:
            (directory / "merged").mkdir()
            (directory / "merged" / "config.json").write_text("{}")
        draft = VersionDraft.model_validate(
            {
                "namespace": NAMESPACE,
                "adapter": adapter,
                "recipe": digest_of([adapter, self._count]),
                "reason": "SpecChanged",
                "uid": "uid",
                "generation": 1,
                "base": BaseReference(name="tiny", revision="one", digest=(base or self._base).digest, source=SOURCE),
                "dataset": DatasetRecord(uri="s3://data/rows.jsonl", digest=digest_of("rows"), rows=1),
                "method": "LoRA",
                "trained_on": "float32",
                "servable": servable,
                "hyperparameters": {},
                "seed": 1,
                "shape": AdapterShape(
                    rank=rank, alpha=4, target_modules=("q_proj",), trainable_parameters=1, all_parameters=2
                ),
                "libraries": {},
                "golden": golden_prompts(golden_of or weights, golden_count),
                "probes": () if probes_of is None else self._probes(probes_of),
            }
        )
        stored = AdapterRegistry(self._store, NAMESPACE, adapter).publish(draft, directory)
        self.weights[adapter, stored.manifest.number] = weights
        return stored

    def _probes(self, value: float) -> tuple[Probe, ...]:
        return probes(write_adapter(self._directory / f"probes-{self._count}", value=value))


def wanted_adapter(
    name: str,
    versions: list[StoredVersion],
    route: list[tuple[StoredVersion, int]] | None = None,
    forward_to: str | None = None,
    scoring: tuple[StoredVersion, StoredVersion] | None = None,
) -> dict[str, Any]:
    """An entry of the wanted set; by default the last version gets everything. `scoring` is (candidate, stable)."""
    shares = [(versions[-1], 100)] if route is None and versions else route or []
    candidate, stable = [stored.manifest.number for stored in scoring] if scoring else (None, None)
    return {
        "name": name,
        "versions": [{"number": stored.manifest.number, "manifestDigest": stored.digest} for stored in versions],
        "route": [{"number": stored.manifest.number, "weight": weight} for stored, weight in shares],
        "forwardTo": forward_to,
        "scoring": {"candidate": candidate, "stable": stable} if scoring else None,
    }


def wanted_set(base: BaseManifest, *adapters: dict[str, Any], base_forward_to: str | None = None) -> dict[str, Any]:
    """A wanted set for pods of `base`."""
    return {
        "schema": "graft.dev/wanted/v1",
        "base": {"name": base.name, "digest": base.digest, "forwardTo": base_forward_to},
        "adapters": list(adapters),
    }
