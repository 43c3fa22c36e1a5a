"""The LoraAdapter resource: what to train on which base, how to judge it, and how to serve it."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.dataset import Dataset
from graft_operator.api.evaluation import Evaluation
from graft_operator.api.meta import ApiModel, LocalObjectReference, ObjectMeta, StatusModel
from graft_operator.api.training import LoraParameters, Method, Training, TrainingPod

ADAPTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")
"""A DNS label, with room for the suffix of a training Job."""


class AdapterServing(ApiModel):
    """How the adapter is served."""

    mode: Literal["MultiAdapter", "None"] = "MultiAdapter"
    """MultiAdapter: beside its siblings on the base's engine. None: trained and published only."""


class LoraAdapterSpec(ApiModel):
    """What the user wants of an adapter."""

    base_model_ref: LocalObjectReference
    """The BaseModel that the adapter belongs to."""
    dataset: Dataset
    """The rows to learn from."""
    method: Method = "LoRA"
    """LoRA; QLoRA trains on a 4-bit base (NF4, double quantisation); RsLoRA scales by alpha/√rank."""
    lora: LoraParameters = LoraParameters()
    """The adapter's shape."""
    training: Training = Training()
    """How it is trained."""
    evaluation: Evaluation = Evaluation()
    """When it is good enough."""
    pod: TrainingPod = TrainingPod()
    """The pod that trains."""
    serving: AdapterServing = AdapterServing()
    """How it is served."""
    version: int | None = Field(default=None, ge=1, le=99_999_999)
    """Pins the served version: nothing is trained while it is set."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """What becomes of the published versions when this object is deleted."""
    suspend: bool = False
    """No new training starts while true; what is served stays served."""


class LoraAdapter(StatusModel):
    """An adapter as stored in the cluster."""

    metadata: ObjectMeta
    spec: LoraAdapterSpec
    status: LoraAdapterStatus = LoraAdapterStatus()

    @model_validator(mode="after")
    def _well_named(self) -> LoraAdapter:
        if not ADAPTER_NAME.fullmatch(self.metadata.name):
            raise ValueError("metadata.name must be at most 52 of a-z, 0-9 and '-'")
        if self.metadata.name == self.spec.base_model_ref.name:
            raise ValueError("metadata.name must not equal spec.baseModelRef.name: both name a model on one endpoint")
        return self

    @classmethod
    def parse(cls, body: dict[str, Any]) -> LoraAdapter:
        """Parse an API object; raises pydantic.ValidationError that names the field."""
        return cls.model_validate(body)
