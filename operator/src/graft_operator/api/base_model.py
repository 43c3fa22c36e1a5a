"""The BaseModel resource: one base, its source, how it is served, and what a change of it does to its adapters."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.base_shape import BaseShape
from graft_operator.api.concurrency import ConcurrencyResult, ConcurrencyTest
from graft_operator.api.conditions import Condition
from graft_operator.api.meta import (
    ApiModel,
    Digest,
    LocalObjectReference,
    ObjectMeta,
    ObjectName,
    SecretKeyReference,
    StatusModel,
)
from graft_operator.api.pods import Placement, Resources

S3Uri = Annotated[
    str,
    StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()=+@-]+)*/?$", max_length=1024),
]
RelativePath = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*)(/[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*)*$",
        max_length=512,
    ),
]
"""A path below a volume's root: no leading slash, no segment that begins with a dot."""
HubRepository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$", max_length=192)]
HubRevision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]+$", max_length=128)]
EngineArgument = Annotated[str, StringConstraints(pattern=r"^--[a-z0-9][a-z0-9-]*(=.{0,512})?$", max_length=576)]

RESERVED_ENGINE_ARGUMENTS = frozenset(
    {
        "--model",
        "--served-model-name",
        "--host",
        "--port",
        "--uds",
        "--api-key",
        "--enable-lora",
        "--lora-modules",
        "--max-loras",
        "--max-cpu-loras",
        "--max-lora-rank",
        "--max-model-len",
        "--trust-remote-code",
        "--api-server-count",
        "--root-path",
        "--middleware",
        "--ssl-keyfile",
        "--ssl-certfile",
    }
)
"""Arguments that Graft sets itself, or that would open the engine to the outside."""

BASE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
"""A DNS label that a Service may be named after, with room for suffixes."""


class HuggingFaceSource(ApiModel):
    """A model repository on the Hugging Face hub, or on a mirror of it."""

    repo: HubRepository
    """Repository, such as ``mistralai/Mistral-7B-v0.3``."""
    revision: HubRevision = "main"
    """Branch, tag or commit. It is resolved once to a commit; change it to bump the base."""


class S3Source(ApiModel):
    """A model directory in an S3 bucket."""

    uri: S3Uri
    """``s3://bucket/prefix`` of the directory that holds config.json."""


class ClaimSource(ApiModel):
    """A model directory on a PersistentVolumeClaim; pods mount it read-only, nothing is copied."""

    claim_name: ObjectName
    """Claim in the same namespace; it must be mountable by every pod that needs the base (ROX or RWX)."""
    path: RelativePath
    """Directory below the volume's root that holds config.json."""


class BaseSource(ApiModel):
    """Where the base comes from: exactly one of the fields."""

    hugging_face: HuggingFaceSource | None = None
    """A repository on the Hugging Face hub."""
    s3: S3Source | None = None
    """A directory in an S3 bucket."""
    persistent_volume_claim: ClaimSource | None = None
    """A directory on a volume."""

    @model_validator(mode="after")
    def _exactly_one(self) -> BaseSource:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("exactly one of huggingFace, s3 and persistentVolumeClaim must be set")
        return self


ROLLOUT_HEADROOM = 2
"""Versions that the engine can hold beyond ``maxLoadedAdapters``: so many adapters may roll out on a full base."""


class BaseServing(Placement):
    """The engine that serves the base and all its adapters."""

    replicas: int = Field(default=1, ge=0, le=64)
    """Number of serving pods; each holds the base and all its adapters."""
    image: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Image of the engine (vLLM); the operator's default when empty."""
    resources: Resources = Resources()
    """Resources of the engine's container."""
    max_loaded_adapters: int = Field(default=32, ge=2, le=1024)
    """Adapters that a pod serves: it holds so many versions in CPU memory, and two more for rollouts.

    An adapter beyond it waits, with the reason NoFreeSlot."""
    max_active_adapters: int = Field(default=4, ge=1, le=256)
    """Adapters that one batch may mix (vLLM ``--max-loras``)."""
    max_rank: int = Field(default=64, ge=1, le=512)
    """Highest rank that is accepted; rounded up to a value that vLLM knows."""
    max_model_length: int | None = Field(default=None, ge=16, le=10_000_000)
    """Context length in tokens; the model's own when empty."""
    engine_args: tuple[EngineArgument, ...] = Field(default=(), max_length=64)
    """Further arguments of the engine, ``--name`` or ``--name=value``."""
    api_key_secret_ref: SecretKeyReference | None = None
    """Key of a Secret whose value holds the API keys that clients must send, one a line; without it nobody needs one.

    A changed Secret takes effect within a minute or two, without a restart."""

    concurrency_test: ConcurrencyTest | None = None
    """When set, all adapters are asked at once whenever their set, the base or the engine changes."""

    @model_validator(mode="after")
    def _consistent(self) -> BaseServing:
        # argparse takes an unambiguous beginning for the whole name: --trust-remote is --trust-remote-code.
        taken = [
            arg
            for arg in self.engine_args
            if any(reserved.startswith(arg.partition("=")[0]) for reserved in RESERVED_ENGINE_ARGUMENTS)
        ]
        if taken:
            raise ValueError(f"engineArgs must not contain {taken[0]}: Graft sets it")
        if self.max_loaded_adapters < self.max_active_adapters:
            raise ValueError("maxLoadedAdapters must not be below maxActiveAdapters")
        return self


class Readaptation(ApiModel):
    """What a changed base does to the adapters that were trained on the one before."""

    policy: Literal["Auto", "Never"] = "Auto"
    """Auto trains each adapter again on the new base; Never leaves them on the old base, which keeps serving."""
    strategy: Literal["Auto", "Cold"] = "Auto"
    """Auto begins with the weights of the served version where the new base is near the old one, and with nothing where
    the result fails its gate; Cold always begins with nothing."""
    max_parallel: int = Field(default=2, ge=1, le=100)
    """Adapters of this base that may be re-adapted at the same time."""


class BaseModelSpec(ApiModel):
    """What the user wants of a base."""

    source: BaseSource
    """Where the base comes from."""
    credentials_secret_ref: LocalObjectReference | None = None
    """Secret whose keys are the import pod's environment (HF_TOKEN, or AWS_ACCESS_KEY_ID and so on for the source)."""
    serving: BaseServing = BaseServing()
    """How the base is served."""
    readaptation: Readaptation = Readaptation()
    """What happens to the adapters when the base changes."""


class Drift(StatusModel):
    """How far a base is from the one before."""

    previous: Digest
    """Digest of the base before."""
    verdict: Literal["Equal", "TokenizerOnly", "Near", "Different"]
    """TokenizerOnly: the same weights; Near: the same shapes and weights that moved a little; Different: all else."""
    relative_change: str | None = None
    """Mean of ‖new - old‖ / ‖old‖ over the layers' linear weights, such as 0.154; empty where the shapes differ."""


class ResolvedBase(StatusModel):
    """The immutable identity that the source was resolved to."""

    digest: Digest
    """Base digest: weights and fingerprint."""
    revision: str
    """Commit of the hub, or digest of the weights."""
    source_digest: Digest
    """Digest of the source's spec: tells whether the spec has moved on."""
    parameters: int = 0
    """Number of parameters of the base."""
    architecture: str = ""
    """Model class, such as LlamaForCausalLM."""
    quantization: str = ""
    """How the weights are stored quantized, such as gptq; empty at full precision."""
    dtype: str = ""
    """Number format of the weights, such as bfloat16."""
    shape: BaseShape | None = None
    """Dimensions of the base; empty until the operator has read its manifest."""
    claim_name: str | None = None
    """Claim that holds the files, when they were left in place."""
    claim_path: str | None = None
    """Directory on that claim."""
    drift: Drift | None = None
    """How far it is from the base before; empty for the first one, and where that could not be measured."""


WAITING_KEPT = 1024
"""Names in ``waiting``; as many adapters as a pod can hold."""


class ServingRevision(StatusModel):
    """One base that is being served now; during a bump there are two."""

    digest: Digest
    """Base digest."""
    revision: str = ""
    """Commit of the hub, or digest of the weights."""
    deployment: str
    """Deployment that serves it."""
    replicas: int = 0
    """Wanted pods."""
    ready_replicas: int = 0
    """Pods that answer."""
    claim_name: str | None = None
    """Claim that holds the files, when they were left in place."""
    claim_path: str | None = None
    """Directory on that claim."""
    waiting: tuple[str, ...] = Field(default=(), max_length=WAITING_KEPT)
    """Adapters whose version has no place here: serving.maxLoadedAdapters are loaded."""


class AdapterCounts(StatusModel):
    """The adapters of this base, counted."""

    total: int = 0
    """All adapters that name this base."""
    up_to_date: int = 0
    """Served from the current spec on the current base."""
    readapting: int = 0
    """Being trained again because the base changed."""
    blocked: int = 0
    """Stalled: a person has to act."""


class BaseModelStatus(StatusModel):
    """What the operator has seen of a base."""

    observed_generation: int = -1
    """Generation of the spec that this status is about."""
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    """Resolved, ServingReady, AdaptersUpToDate, RegistrySafe, ConcurrencyTested, Ready, Reconciling, Stalled."""
    resolved: ResolvedBase | None = None
    """The base that new versions are trained on."""
    serving: tuple[ServingRevision, ...] = Field(default=(), max_length=8)
    """The bases that are being served."""
    adapters: AdapterCounts = AdapterCounts()
    """The adapters of this base, counted."""
    concurrency: ConcurrencyResult | None = None
    """What the last concurrency test has found."""
    replicas: int = 0
    """Pods of the current base that answer, for the scale subresource."""
    selector: str | None = None
    """Label selector of these pods, for the scale subresource."""
    endpoint: str | None = None
    """URL of the OpenAI API inside the cluster."""


class BaseModel(StatusModel):
    """A base model as stored in the cluster."""

    metadata: ObjectMeta
    spec: BaseModelSpec
    status: BaseModelStatus = BaseModelStatus()

    @model_validator(mode="after")
    def _well_named(self) -> BaseModel:
        if not BASE_NAME.fullmatch(self.metadata.name):
            raise ValueError("metadata.name must be at most 40 of a-z, 0-9 and '-', and begin with a letter")
        return self

    @classmethod
    def parse(cls, body: dict[str, Any]) -> BaseModel:
        """Parse an API object; raises pydantic.ValidationError that names the field."""
        return cls.model_validate(body)
