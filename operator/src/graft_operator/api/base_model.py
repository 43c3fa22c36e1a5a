"""The BaseModel resource: one base, its source, how it is served, and what a change of it does to its adapters."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from graft_operator.api.base_serving import BaseServing, ConcurrencyResult
from graft_operator.api.base_shape import BaseShape
from graft_operator.api.base_source import BaseSource
from graft_operator.api.conditions import Condition
from graft_operator.api.meta import (
    ApiModel,
    Digest,
    LocalObjectReference,
    ObjectMeta,
    ObjectName,
    StatusModel,
)
from graft_operator.api.pods import PodSettings, Resources

BASE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
"""A DNS label that a Service may be named after, with room for suffixes."""


PLACES_TO_READAPT = 100
"""Highest ``readaptation.maxParallel``."""


class Readaptation(ApiModel):
    """What happens to adapters of the previous base when the base changes."""

    policy: Literal["Auto", "Never"] = "Auto"
    """Auto trains each adapter again on the new base; Never leaves them on the old base, which keeps serving."""
    strategy: Literal["Auto", "Cold"] = "Auto"
    """Auto begins with the weights of the served version where the new base is near the old one, and with nothing where
    the result fails its gate; Cold always begins with nothing."""
    max_parallel: int = Field(default=2, ge=1, le=PLACES_TO_READAPT)
    """Adapters of this base that may be re-adapted at the same time."""


class ImportPod(PodSettings):
    """The pod that brings the base into the registry."""

    service_account_name: ObjectName | None = None
    """ServiceAccount of the same namespace, for workload identity."""
    resources: Resources = Resources()
    """Resources of the import's container; the chart's ``podResources.import`` when empty."""


class BaseModelSpec(ApiModel):
    """What the user wants of a base."""

    source: BaseSource
    """Where the base comes from."""
    credentials_secret_ref: LocalObjectReference | None = None
    """Secret whose keys are the import pod's environment (HF_TOKEN, or AWS_ACCESS_KEY_ID and so on for the source)."""
    import_pod: ImportPod = ImportPod()
    """The pod that brings the base into the registry."""
    serving: BaseServing = BaseServing()
    """How the base is served."""
    readaptation: Readaptation = Readaptation()
    """What happens to the adapters when the base changes."""


class Drift(StatusModel):
    """How much a base differs from the previous one."""

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
    """Commit of the hub, digest of the image where the source names one, or else digest of the files."""
    source_digest: Digest
    """Digest of the source's spec; shows whether the spec has changed since."""
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


NOT_RESIDENT_KEPT = 4096
"""Names in ``notResident``; more adapters of one base would not fit into the ConfigMap that tells its pods of them."""

LEFT_OUT_KEPT = 1024
"""Names in ``leftOut``."""

REVISIONS_SERVED = 16
"""Bases that one BaseModel serves at once: each takes GPUs of its own."""


class ServingRevision(StatusModel):
    """One base that is being served now; during a bump there are two."""

    digest: Digest
    """Base digest."""
    revision: str = ""
    """Commit of the hub, digest of the image where the source names one, or else digest of the files."""
    deployment: str
    """Deployment that serves it."""
    replicas: int = 0
    """Wanted pods."""
    ready_replicas: int = 0
    """Pods that answer, and have done so for long enough to be reached."""
    claim_name: str | None = None
    """Claim that holds the files, when they were left in place."""
    claim_path: str | None = None
    """Directory on that claim."""
    waiting: tuple[str, ...] = Field(default=(), max_length=WAITING_KEPT)
    """Adapters whose version has no place here: serving.maxLoadedAdapters are loaded."""
    not_resident: tuple[str, ...] = Field(default=(), max_length=NOT_RESIDENT_KEPT)
    """Adapters with residency OnDemand that are not loaded here now, because others were used more recently."""
    left_out: tuple[str, ...] = Field(default=(), max_length=LEFT_OUT_KEPT)
    """Adapters whose changes do not reach the pods, because the ConfigMap that lists them is full."""


class AdapterCounts(StatusModel):
    """The adapters of this base, counted."""

    total: int = 0
    """All adapters that name this base."""
    up_to_date: int = 0
    """Served from the current spec on the current base."""
    readapting: int = 0
    """Being trained again because the base changed."""
    blocked: int = 0
    """Stalled: somebody has to act."""
    on_demand: int = 0
    """Loaded on demand (serving.residency)."""
    not_resident: int = 0
    """Of those, the ones that no base has loaded now; a request loads them when there is a place."""


class ReadaptationStatus(StatusModel):
    """Which adapters may be trained again because the base has changed."""

    granted: tuple[str, ...] = Field(default=(), max_length=PLACES_TO_READAPT)
    """Adapters that may, until their training has ended: readaptation.maxParallel of them at the same time."""
    queued: int = 0
    """Adapters that wait for their turn."""
    waiting_for: str | None = Field(default=None, max_length=1024)
    """What they wait for."""


class FailedImports(StatusModel):
    """How often in a row an import has failed in one way."""

    inputs_digest: Digest
    """Digest of the source, its credentials' name and the image: imports of others are counted separately."""
    job: str
    """UID of the last Job that was counted."""
    reason: str
    """How they have failed."""
    count: int
    """So many of them."""


class BaseModelStatus(StatusModel):
    """What the operator has seen of a base."""

    observed_generation: int = -1
    """Generation of the spec that this status is about."""
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    """Ready, Reconciling, Stalled, Resolved, ServingReady, AdaptersUpToDate, RegistrySafe, and, where they are asked
    for, ConcurrencyTested and GatewayReady."""
    resolved: ResolvedBase | None = None
    """The base that new versions are trained on."""
    failed_imports: FailedImports | None = None
    """How often the import of the current source has failed; empty once it is resolved."""
    serving: tuple[ServingRevision, ...] = Field(default=(), max_length=REVISIONS_SERVED)
    """The bases that are being served, the current one first."""
    readaptation: ReadaptationStatus = ReadaptationStatus()
    """Which adapters may be trained again because the base has changed."""
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
        if self.metadata.name.endswith("-merged"):  # graft-x-merged is the Service of an adapter x
            raise ValueError("metadata.name must not end with -merged: adapters that are served merged are named so")
        return self

    @classmethod
    def parse(cls, body: dict[str, Any]) -> BaseModel:
        """Parse an API object; raises pydantic.ValidationError that names the field."""
        return cls.model_validate(body)
