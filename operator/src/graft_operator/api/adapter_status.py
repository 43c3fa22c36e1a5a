"""The status of a LoraAdapter: bounded, truthful, and enough for the operator to go on from after a restart."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema

from graft_operator.api.adapter_source import ImportedVersion, SourceStatus
from graft_operator.api.conditions import WORD_SCHEMA, Condition, Text, Word
from graft_operator.api.evaluation import ComparedVersion
from graft_operator.api.meta import Digest, StatusModel

VERSIONS_KEPT = 10
"""Entries of ``status.versions``; the registry holds the full history."""

VersionReason = Literal["SpecChanged", "BaseModelChanged", "DataChanged", "RankDoubled", "Imported"]
VersionState = Literal["Published", "Rejected", "Refused", "RolledBack"]
ServedMode = Literal["MultiAdapter", "Merged"]
"""The words that we write. What we read may be of a newer release, which knows more of them."""


def _known_mode(value: Any) -> Any:
    return value if value in get_args(ServedMode) else None


def _with_known_mode(value: Any) -> Any:
    """Return the entry; None for one of a mode that is not ours to end."""
    mode = value.get("mode") if isinstance(value, dict) else getattr(value, "mode", None)
    return value if mode in get_args(ServedMode) else None


class WarmStart(StatusModel):
    """The older version whose weights a training begins with, instead of with nothing."""

    number: int
    """Version number."""
    digest: Digest
    """Digest of the manifest."""


class Version(StatusModel):
    """One published version, as described by the registry's manifest."""

    number: int
    """Version number."""
    digest: Digest
    """Digest of the manifest."""
    recipe: Digest
    """Digest of the training inputs."""
    spec_digest: Digest | None = None
    """Digest of what the spec had to say on them, without the base and the content of the data."""
    base_digest: Digest
    """Base that it was trained on."""
    base_revision: Text = ""
    """Revision of that base."""
    reason: Word = "SpecChanged"
    """Why it was made: SpecChanged, BaseModelChanged, DataChanged, RankDoubled or Imported."""
    warm_start: WarmStart | None = None
    """The version that its training began with; empty when it began with nothing."""
    imported: ImportedVersion | None = None
    """What it was imported from; empty for one that was trained here."""
    state: Word = "Published"
    """Published; Rejected by the gate; Refused by the serving pods; RolledBack because of what it did there."""
    message: Text = ""
    """The gate's verdict on it, or why it was refused or rolled back."""
    served: bool | None = None
    """Whether it has answered beside others on every wanted replica, now or at some time before."""
    rank: int | None = None
    """Rank that it was trained with."""
    eval_loss: str | None = None
    """Evaluation loss, nats per token; of objectives DPO and KTO their own, per row."""
    base_eval_loss: str | None = None
    """Evaluation loss of the base alone on the same rows; with DPO and KTO of the reference."""
    exact_match: str | None = None
    """Part of the probes and held-out rows that is answered exactly, 0 to 1."""
    base_exact_match: str | None = None
    """The same of the base alone."""
    perplexity: str | None = None
    """exp(evaluation loss)."""
    base_perplexity: str | None = None
    """Perplexity of the base alone on the same rows."""
    preference_accuracy: str | None = None
    """Part of the held-out preferences that it has learned, 0 to 1, with objectives DPO and KTO; 0.5 is chance."""
    train_seconds: int | None = None
    """Seconds that its training took."""
    train_tokens: int | None = None
    """Tokens that it was trained on, each epoch counted."""
    compared_with: ComparedVersion | None = None
    """The version that was served before, compared on the same rows; empty where they can't be compared."""
    published_time: datetime | None = None
    """When its manifest was committed."""


class TrainingProgress(StatusModel):
    """The training Job that runs now."""

    job: str
    """Name of the Job."""
    recipe: Digest
    """Digest of the training inputs."""
    warm_start: WarmStart | None = None
    """The version that it begins with; empty when it begins with nothing."""
    reason: Word = ""
    """Why it trains: the reason of the version that it makes."""
    state: Word = "Pending"
    """Pending, Preparing, Loading, Training, Evaluating, Publishing or Published; Preparing in a Job without a GPU."""
    rows: int | None = None
    """Rows that have been read or rendered, while they are prepared."""
    total_rows: int | None = None
    """Rows in all; empty until they have been read."""
    step: int = 0
    """Optimizer steps done."""
    max_steps: int = 0
    """Optimizer steps in all."""
    loss: str | None = None
    """Training loss, nats per token."""
    eta_seconds: int | None = None
    """Estimated seconds to the end of training."""
    batch_size: int | None = None
    """Rows of one forward pass: below spec.training.batchSize after the trainer was out of memory."""
    gradient_accumulation: int | None = None
    """Forward passes per optimizer step: raised as batchSize is lowered, so that a step still sees as many rows."""
    workers: int | None = None
    """Processes that train together, over all pods; each has rows of its own in every step."""

    @property
    def prepared(self) -> str:
        """Return how many rows are prepared, in words; empty where that is not told."""
        if self.rows is None:
            return ""
        return f"{self.rows:,} rows read" if self.total_rows is None else f"{self.rows:,} of {self.total_rows:,} rows"


class FailedTrainings(StatusModel):
    """How the Jobs of one recipe have failed: it outlives them, for people delete Jobs, and janitors do."""

    recipe: Digest
    """Digest of the training inputs."""
    reason: Word
    """Why the last one failed."""
    message: Text = ""
    """The trainer's message, or the last lines of its log."""
    count: int = 1
    """Jobs in a row that have failed in this way."""
    job: Text = ""
    """UID of the last Job that was counted."""
    inputs_digest: Digest | None = None
    """Digest of what else it depends on whether a training is tried again: pod settings, deadline, graft.dev/retry."""
    image: Text = ""
    """Image of that Job's trainer."""


class SkippedPreparation(StatusModel):
    """A preparation of rows that spec.preparation.mode Auto has given up: the training prepares them itself."""

    recipe: Digest
    """Digest of the training inputs."""
    reason: Word
    """What kept its Job from doing it."""
    message: Text = ""
    """The same in words."""
    job: Text = ""
    """UID of that Job."""


class ChosenMethod(StatusModel):
    """What method Auto has come to."""

    method: Word
    """The method that versions are trained with."""
    inputs_digest: Digest
    """Digest of what it was chosen by: the base's shape, hyperparameters and GPU. Others are chosen for anew."""
    message: Text = ""
    """Why it was chosen."""


class RaisedRank(StatusModel):
    """The rank that self-correction has chosen instead of spec.lora.rank."""

    rank: int
    """Rank that versions of this spec are trained with."""
    spec_digest: Digest
    """Digest of the spec that it was raised for; another training starts over from spec.lora.rank."""
    message: Text = ""
    """Why it was raised."""


class ServedVersion(StatusModel):
    """A version that the alias points to, or did before."""

    number: int
    """Version number."""
    digest: Digest
    """Digest of the manifest."""
    base_digest: Digest
    """Base that it is served on."""


class RolloutProgress(StatusModel):
    """How far requests have moved from the previous version to the target; it outlives the operator."""

    weight: int = 100
    """Percent of the requests that the target is to answer."""
    start_time: datetime
    """When the target became the target."""
    step_time: datetime | None = None
    """When every replica first split requests by this weight: the step, or the rollback window, began."""


class FormerServing(StatusModel):
    """How the adapter was served before serving.mode changed: it goes on until its successor answers."""

    mode: Annotated[ServedMode, WithJsonSchema(WORD_SCHEMA)]
    """Mode of the pods that answer."""
    version: ServedVersion
    """The version that they answer with."""
    succeeded_time: datetime | None = None
    """When the new mode was seen to answer everywhere. Clients have the rollback window to follow, then this ends."""


class AdapterServingStatus(StatusModel):
    """What the serving pods were told, and what they say."""

    mode: Annotated[ServedMode | None, BeforeValidator(_known_mode), WithJsonSchema(WORD_SCHEMA)] = None
    """How the target is served: another mode of the spec takes over once it has a version to serve."""
    former: Annotated[FormerServing | None, BeforeValidator(_with_known_mode)] = None
    """What still answers as it did before serving.mode changed."""
    target: ServedVersion | None = None
    """The version that the alias is to point to."""
    previous: ServedVersion | None = None
    """The version before: it stays loaded until the target answers everywhere and the rollback window is over."""
    rollout: RolloutProgress | None = None
    """How far the target has taken over; empty when that is over and done with."""
    endpoint: str | None = None
    """URL of the OpenAI API of the merged model, once it answers; without it, ask the base's endpoint."""
    desired: int = 0
    """Serving pods that are to answer with the target."""
    loaded: int = 0
    """Serving pods that do."""
    failed: int = 0
    """Serving pods that refuse it or can't load it."""
    message: Text = ""
    """What the first of the failing pods says."""

    @property
    def mode_in_force(self) -> ServedMode:
        """Return how the target is served; an earlier release has not said so, but named the endpoint.

        A mode that only a newer release knows is none: what is loaded beside others stays loaded.
        """
        return self.mode or ("Merged" if self.endpoint else "MultiAdapter")

    def version_served_as(self, mode: ServedMode) -> ServedVersion | None:
        """Return the version that pods of this mode are to answer with, if only until another mode has taken over."""
        if self.target is not None and self.mode_in_force == mode:
            return self.target
        return self.former.version if self.former is not None and self.former.mode == mode else None


class LoraAdapterStatus(StatusModel):
    """What the operator has seen of an adapter."""

    observed_generation: int = -1
    """Generation of the spec that this status is about."""
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    """Accepted, Trained, Evaluated, Published, Served, UpToDate, Ready, Reconciling, Stalled, and, where a source is
    looked at again, SourceChecked."""
    recipe: Digest | None = None
    """Digest of the training inputs that the current spec and base ask for."""
    versions: tuple[Version, ...] = Field(default=(), max_length=VERSIONS_KEPT)
    """The newest versions, newest first."""
    served_version: int | None = None
    """The version that really answers on every wanted replica."""
    candidate_version: int | None = None
    """The version that is being rolled out."""
    training: TrainingProgress | None = None
    """The training Job that runs now."""
    failed_trainings: FailedTrainings | None = None
    """How trainings of the current recipe have failed; empty while none has, and once there is a version of it."""
    prepared_rows: Digest | None = None
    """Digest of what decided the rows that were prepared last: the same are not prepared again."""
    skipped_preparation: SkippedPreparation | None = None
    """Why the training of the current recipe prepares its rows itself; empty where nothing was given up."""
    source: SourceStatus | None = None
    """What is known of spec.source; empty without one, and before it was read."""
    chosen_method: ChosenMethod | None = None
    """What spec.method Auto has come to; empty with any other method."""
    raised_rank: RaisedRank | None = None
    """The rank that spec.training.rankDoubling has chosen; empty while spec.lora.rank is used."""
    serving: AdapterServingStatus = AdapterServingStatus()
    """What the serving pods were told, and what they say."""
