"""The LoraAdapter resource: what to train or import on which base, how to judge it, and how to serve it."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from graft_operator.api.adapter_source import AdapterSource
from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.dataset import Dataset
from graft_operator.api.evaluation import Evaluation
from graft_operator.api.meta import ApiModel, LocalObjectReference, ObjectMeta, StatusModel
from graft_operator.api.pods import Preparation
from graft_operator.api.rollout import RolloutSpec
from graft_operator.api.training import (
    NO_BEGINNING,
    NOT_SERVED,
    SERVED_MERGED_ONLY,
    WITH_ONE_RANK,
    LoraParameters,
    Method,
    PromptTuning,
    Training,
    TrainingPod,
)

ADAPTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")
"""A DNS label, with room for the suffix of a training Job."""


class AdapterServing(ApiModel):
    """How the adapter is served."""

    mode: Literal["MultiAdapter", "Merged", "None"] = "MultiAdapter"
    """MultiAdapter: beside its siblings on the base's engine. Merged: as a model of its own. None: published only."""
    replicas: int | None = Field(default=None, ge=1, le=64)
    """Number of the base's serving pods that hold the adapter, with mode MultiAdapter; all of them when empty.

    The other pods send requests for it to those, so together the base's pods hold more adapters than one of them."""
    residency: Literal["Always", "OnDemand"] = "Always"
    """Always: loaded permanently. OnDemand: loaded while there is room, or else on request, with mode MultiAdapter.

    A full base keeps its most recently used OnDemand adapters loaded. See docs/capacity.md."""
    rollout: RolloutSpec = RolloutSpec()
    """How a new version takes over from the previous one, with mode MultiAdapter."""

    @model_validator(mode="after")
    def _is_loaded_on_demand_beside_others(self) -> AdapterServing:
        if self.residency == "OnDemand" and self.mode != "MultiAdapter":
            raise ValueError(f"residency must be Always with mode {self.mode}: only a base's engine loads on demand")
        return self


class LoraAdapterSpec(ApiModel):
    """The desired state of an adapter."""

    base_model_ref: LocalObjectReference
    """The BaseModel that the adapter belongs to."""
    source: AdapterSource | None = None
    """An adapter that was trained elsewhere, to import. Beside a dataset, it is what is served on the base that it was
    imported for; see docs/importing.md."""
    dataset: Dataset | None = None
    """The rows to learn from; beside a source, those that it is judged by, and learned from once the base changes."""
    method: Method = "LoRA"
    """How the adapter learns, where it is trained; docs/methods.md compares. Auto takes LoRA, RsLoRA from rank 64 on,
    and QLoRA where the GPU is too small for them. DoRA, IA3 and LongLoRA are served merged, prompts not at all."""
    lora: LoraParameters = LoraParameters()
    """The adapter's shape."""
    prompt_tuning: PromptTuning = PromptTuning()
    """The shape of a trained prompt, with methods PromptTuning and PrefixTuning."""
    training: Training = Training()
    """How it is trained."""
    evaluation: Evaluation = Evaluation()
    """When it is good enough."""
    preparation: Preparation = Preparation()
    """How its rows are prepared before the training requests a GPU; see docs/datasets.md."""
    pod: TrainingPod = TrainingPod()
    """The pod that trains."""
    serving: AdapterServing = AdapterServing()
    """How it is served."""
    version: int | None = Field(default=None, ge=1, le=99_999_999)
    """Pins the served version: nothing is trained while it is set."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """What happens to the published versions when this object is deleted. Delete removes all that the bucket holds of
    the adapter; the files of its base stay there, whatever is deleted."""
    suspend: bool = False
    """While true no new training starts; the served version stays served."""

    @property
    def is_only_imported(self) -> bool:
        """Whether nothing is ever trained, so that method, lora, promptTuning and training mean nothing."""
        return self.dataset is None

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> LoraAdapterSpec:
        if self.source is None and self.dataset is None:
            raise ValueError(
                "at least one of source and dataset must be set; give a dataset to train from, or a source to import an"
                " adapter from that was trained elsewhere"
            )
        return self

    @model_validator(mode="after")
    def _serving_can_follow_the_method(self) -> LoraAdapterSpec:
        mode = self.serving.mode
        if self.is_only_imported:
            return self
        if self.method in NOT_SERVED and mode != "None":
            raise ValueError(
                f"method {self.method} can neither be served nor merged by any engine; use serving.mode None"
            )
        if self.method in SERVED_MERGED_ONLY and mode == "MultiAdapter":
            raise ValueError(
                f"method {self.method} can't be served beside other adapters; use serving.mode Merged or None"
            )
        return self

    @model_validator(mode="after")
    def _ranks_are_ours_to_choose(self) -> LoraAdapterSpec:
        if self.method in WITH_ONE_RANK and self.lora.rank_pattern and not self.is_only_imported:
            raise ValueError(f"lora.rankPattern must be empty with method {self.method}")
        return self

    @model_validator(mode="after")
    def _rows_can_be_kept_apart(self) -> LoraAdapterSpec:
        if self.method in NOT_SERVED and self.training.packing and not self.is_only_imported:
            raise ValueError(f"training.packing must be false with method {self.method}: each row needs its own prompt")
        return self

    @model_validator(mode="after")
    def _rows_say_what_is_preferred(self) -> LoraAdapterSpec:
        if self.dataset is None:
            return self
        objective, form = self.training.objective, self.dataset.format
        if objective == "DPO" and form != "Auto":
            raise ValueError("dataset.format must be Auto with objective DPO: a pair is told by its keys")
        if objective == "KTO" and form == "Text":
            raise ValueError("dataset.format must not be Text with objective KTO: a text has no prompt and answer")
        if objective != "SFT" and self.evaluation.max_perplexity is not None:
            raise ValueError(
                f"evaluation.maxPerplexity must be empty with objective {objective}; use minPreferenceAccuracy"
            )
        return self

    @model_validator(mode="after")
    def _version_can_be_begun_with(self) -> LoraAdapterSpec:
        begins = self.training.reference_version is not None and not self.is_only_imported
        if begins and self.method in NO_BEGINNING:
            raise ValueError(
                f"training.preference.referenceVersion must be empty with method {self.method}: its adapters are no"
                " beginning; use LoRA"
            )
        return self


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
