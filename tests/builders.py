"""Objects with every field filled in, so that a test states only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from graft_operator.api.adapter_status import LoraAdapterStatus, ServedVersion
from graft_operator.api.base_model import BaseModel, BaseModelStatus, ResolvedBase, ServingRevision
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests import naming
from graft_operator.manifests.jobs.adapter_source import location_document
from graft_operator.manifests.platform import Platform
from graft_operator.plan.imports.recipe import import_recipes
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.known import Known
from graft_operator.plan.rollout.plan import served
from graft_operator.plan.snapshot import (
    AdapterOfBase,
    AdapterSnapshot,
    BaseSnapshot,
    DeploymentObserved,
    PodObserved,
    VersionOnPod,
)
from graft_operator.plan.training.rank import with_effective_rank
from graft_operator.plan.training.recipe import recipe_digest
from graft_registry.digests import digest_of, sha256_digest
from graft_registry.documents import (
    BaseLocation,
    BaseManifest,
    BaseReference,
    BaseSource,
    Fingerprint,
    StoredFile,
    StoredVersion,
    VersionManifest,
)
from graft_registry.documents.base import base_digest

NAMESPACE: Final = "team-a"
NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
CREATED: Final = "2026-01-01T00:00:00Z"
EVAL_ROWS: Final = sha256_digest(b"the held-out rows")
PLATFORM: Final = Platform(
    trainer_image="trainer:1",
    agent_image="agent:1",
    registry_image="registry:1",
    engine_image="engine:1",
    registry={"endpoint": "http://s3:9000", "bucket": "graft"},
)

VERSION_FIELDS: Final[dict[str, Any]] = {
    "namespace": NAMESPACE,
    "adapter": "support",
    "reason": "SpecChanged",
    "uid": "uid-of-support",
    "generation": 1,
    "method": "LoRA",
    "trained_on": "float32",
    "servable": "MultiAdapter",
    "hyperparameters": {},
    "seed": 42,
    "shape": {"rank": 16, "alpha": 32, "targetModules": ["q_proj"], "trainableParameters": 1, "allParameters": 2},
    "libraries": {},
    "files": (),
    "created_time": CREATED,
}
"""What all versions have in common."""
PARITY: Final[dict[str, Any]] = {
    "dtype": "float32",
    "tokens": 9,
    "mean_kl": 0.0,
    "max_logit_difference": 0.0,
    "argmax_agreement": 1.0,
}
"""What a version says of the merged model that it holds."""


def digest(seed: str) -> str:
    """Return a well-formed digest that differs by ``seed``."""
    return sha256_digest(seed.encode())


def source_of(base: str) -> dict[str, Any]:
    """Return the source, as in a spec, that the base called ``base`` comes from."""
    return {"s3": {"uri": f"s3://models/{base.lower()}"}}


def base_manifest(base: str = "A", *, name: str = "tiny") -> BaseManifest:
    """Return the registry's document on the base called ``base``; other letters are other weights."""
    fingerprint = Fingerprint(
        architecture="LlamaForCausalLM",
        hidden_size=8,
        intermediate_size=16,
        layers=1,
        attention_heads=1,
        key_value_heads=1,
        head_dim=8,
        vocab_size=32,
        tie_word_embeddings=True,
        max_positions=64,
        rope=None,
        quantization=None,
        dtype="float32",
        tokenizer_digest=digest("tokenizer"),
        chat_template_digest=None,
        shapes_digest=digest("shapes"),
    )
    weights = digest(base)
    return BaseManifest(
        namespace=NAMESPACE,
        name=name,
        digest=base_digest(weights, fingerprint),
        source=BaseSource.model_validate(source_of(base)),
        revision=f"revision-{base}",
        weights_digest=weights,
        fingerprint=fingerprint,
        linear_modules={"model.layers.0.self_attn.q_proj": (8, 8)},
        parameters=1000,
        location=BaseLocation(registry=True),
        files=(StoredFile(path="model.safetensors", size=1, sha256="0" * 64),),
        created_time=CREATED,
    )


def base_id(base: str = "A") -> str:
    """Return the digest of the base called ``base``."""
    return base_manifest(base).digest


def base_reference(base: str = "A") -> BaseReference:
    """Return what a version says of the base called ``base``."""
    source = BaseSource.model_validate(source_of(base))
    return BaseReference(name="tiny", revision=f"revision-{base}", digest=base_id(base), source=source)


def resolved_base(base: str = "A", **fields: Any) -> ResolvedBase:
    """Return the status entry of a resolved base."""
    manifest = base_manifest(base)
    defaults: dict[str, Any] = {
        "digest": manifest.digest,
        "revision": manifest.revision,
        "source_digest": manifest.source.digest(),
    }
    return ResolvedBase(**defaults | fields)


def serving_revision(base: str = "A", *, replicas: int = 1, ready: int | None = None, **fields: Any) -> ServingRevision:
    """Return the status entry of a base that is served, by default on every replica."""
    defaults: dict[str, Any] = {
        "digest": base_id(base),
        "deployment": naming.revision_name("tiny", base_id(base)),
        "replicas": replicas,
        "ready_replicas": replicas if ready is None else ready,
    }
    return ServingRevision(**defaults | fields)


def metadata(name: str, **fields: Any) -> dict[str, Any]:
    """Return object metadata."""
    return {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", "generation": 1} | fields


def base_model(
    *,
    resolved: str | None = "A",
    serves: tuple[str, ...] = ("A",),
    replicas: int = 1,
    meta: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> BaseModel:
    """Return the BaseModel ``tiny``: resolved to one base and serving some, each on every replica."""
    filled = BaseModelStatus(
        observed_generation=1,
        resolved=resolved_base(resolved) if resolved else None,
        serving=tuple(serving_revision(base, replicas=replicas) for base in serves),
    ).model_copy(update=status or {})
    defaults: dict[str, Any] = {"source": source_of(resolved or "A"), "serving": {"replicas": replicas}}
    return BaseModel.model_validate(
        {"metadata": metadata("tiny", **meta or {}), "spec": defaults | spec, "status": filled.to_wire()}
    )


def adapter(
    name: str = "support",
    *,
    meta: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> LoraAdapter:
    """Return a LoraAdapter on ``tiny``; keywords are fields of its spec."""
    defaults: dict[str, Any] = {"baseModelRef": {"name": "tiny"}, "dataset": {"s3": {"uri": "s3://data/train.jsonl"}}}
    filled = LoraAdapterStatus(**{"observed_generation": 1} | (status or {}))
    return LoraAdapter.model_validate(
        {"metadata": metadata(name, **meta or {}), "spec": defaults | spec, "status": filled.to_wire()}
    )


def imported_adapter(name: str = "support", **fields: Any) -> LoraAdapter:
    """Return a LoraAdapter that is imported from S3, without rows; ``source`` holds further fields of its source."""
    source = {"s3": {"uri": f"s3://models/{name}/"}} | fields.pop("source", {})
    return adapter(name, **{"source": source, "dataset": None} | fields)


def imported_from(subject: LoraAdapter, content: str = "content") -> dict[str, Any]:
    """Return what the manifest of a version says that was imported from the adapter's source."""
    if subject.spec.source is None:
        raise ValueError("the adapter has no source")
    return {"source": location_document(subject.spec.source), "digest": digest(content)}


def import_recipe_of(subject: LoraAdapter, base: str = "A", content: str | None = None) -> str:
    """Return the recipe of the adapter's import on the base called ``base``."""
    found = digest(content) if content is not None else None
    return import_recipes(
        subject.spec, base_digest=base_id(base), content=found, dataset_digest=None, evaluation_digest=None
    )[0]


def recipe_of(subject: LoraAdapter, base: str = "A") -> str:
    """Return the recipe of the adapter's spec on the base called ``base``."""
    return recipe_digest(subject.spec, base_digest=base_id(base), dataset_digest=None)


def imported_version(
    subject: LoraAdapter,
    number: int = 1,
    *,
    base: str = "A",
    content: str = "content",
    named: str | None = None,
    **fields: Any,
) -> StoredVersion:
    """Return a version that was imported without rows; ``named`` is the content that its recipe names."""
    defaults: dict[str, Any] = {
        "recipe": import_recipe_of(subject, base, named),
        "adapter": subject.metadata.name,
        "reason": "Imported",
        "imported": imported_from(subject, content),
        "dataset": None,
        "metrics": {},
    }
    return version(number, base=base, **defaults | fields)


def version(
    number: int = 1,
    *,
    base: str = "A",
    recipe: str | None = None,
    loss: float | None = 1.0,
    base_loss: float | None = 2.0,
    eval_rows: str | None = EVAL_ROWS,
    **fields: Any,
) -> StoredVersion:
    """Return a published version of the adapter ``support`` that halves the base's loss."""
    defaults: dict[str, Any] = {
        "number": number,
        "recipe": recipe or digest(f"recipe of version {number}"),
        "base": base_reference(base),
        "dataset": {"uri": "s3://data/train.jsonl", "digest": digest("rows"), "evalDigest": eval_rows, "rows": 9},
        "metrics": {"evalLoss": loss, "baseEvalLoss": base_loss},
    }
    manifest = VersionManifest.model_validate(VERSION_FIELDS | defaults | fields)
    return StoredVersion(manifest, digest_of(manifest.to_dict()))


def served_version(number: int = 1, base: str = "A", **fields: Any) -> ServedVersion:
    """Return the short form of :func:`version`."""
    return served(version(number, base=base, **fields))


def job(recipe: str, state: str = "Active", **fields: Any) -> JobObserved:
    """Return a training Job of a recipe."""
    name = naming.training_job_name("support", recipe)
    defaults: dict[str, Any] = {"name": name, "uid": f"uid-of-{name}", "recipe": recipe, "state": state}
    return JobObserved(**defaults | fields)


def on_pod(stored: StoredVersion | ServedVersion, state: str = "Proven", **fields: Any) -> VersionOnPod:
    """Return a version as a pod's agent tells of it."""
    short = served(stored) if isinstance(stored, StoredVersion) else stored
    defaults: dict[str, Any] = {"number": short.number, "digest": short.digest, "state": state}
    return VersionOnPod(**defaults | fields)


def pod(
    name: str = "pod-1", *versions: VersionOnPod, base: str = "A", active: tuple[int, ...] = (), **fields: Any
) -> PodObserved:
    """Return a ready serving pod that knows the given versions and answers all requests with the ``active`` one."""
    defaults: dict[str, Any] = {
        "base_digest": base_id(base),
        "ready": True,
        "reachable": True,
        "active": dict.fromkeys(active, 100),
        "versions": versions,
    }
    return PodObserved(name=name, **defaults | fields)


def answering_pod(stored: StoredVersion | ServedVersion, name: str = "pod-1", *, base: str = "A") -> PodObserved:
    """Return a pod on which the alias points to the version."""
    return pod(name, on_pod(stored), base=base, active=(on_pod(stored).number,))


def seen(subject: LoraAdapter | None = None, **fields: Any) -> AdapterSnapshot:
    """Return what an adapter's plan sees: by default a new adapter on a base that is resolved and serves."""
    subject = subject or adapter()
    base = fields.setdefault("base", base_model())
    if "recipe" not in fields and base is not None and base.status.resolved and not fields.get("dataset_problem"):
        fields["recipe"] = recipe_digest(
            with_effective_rank(subject).spec,
            base_digest=(fields.get("kept_base") or base.status.resolved).digest,
            dataset_digest=fields.get("dataset_digest"),
            evaluation_digest=fields.get("evaluation_digest"),
        )
    return AdapterSnapshot(adapter=subject, **fields)


def deployment(base: str = "A", *, replicas: int = 1, ready: int | None = None, **fields: Any) -> DeploymentObserved:
    """Return a serving Deployment, by default rolled out on every replica."""
    name = naming.revision_name("tiny", base_id(base))
    up = replicas if ready is None else ready
    defaults: dict[str, Any] = {
        "uid": f"uid-of-{name}",
        "base_digest": base_id(base),
        "replicas": replicas,
        "settled": up == replicas,
    }
    return DeploymentObserved(name=name, ready_replicas=up, **defaults | fields)


def adapter_of_base(name: str = "support", **fields: Any) -> AdapterOfBase:
    """Return an adapter as its base sees it."""
    return AdapterOfBase(name=name, **fields)


def base_seen(subject: BaseModel | None = None, *, bases: str = "A", **fields: Any) -> BaseSnapshot:
    """Return what a base's plan sees: by default resolved to what its spec names, and ``bases`` in the registry."""
    subject = subject or base_model(meta={"finalizers": ("graft.dev/base-in-use",)})
    source = BaseSource.model_validate(subject.spec.source.to_wire())
    known = [base_manifest(letter) for letter in bases]
    defaults: dict[str, Any] = {
        "source_digest": source.digest(),
        "manifest": Known(next((item for item in known if item.source == source), None)),
        "manifests": {item.digest: item for item in known},
        "anchor_uid": "uid-of-anchor",
    }
    return BaseSnapshot(base=subject, **defaults | fields)
