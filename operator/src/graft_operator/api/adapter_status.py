"""The status of a LoraAdapter: bounded, truthful, and enough for the operator to go on from after a restart."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from graft_operator.api.conditions import Condition
from graft_operator.api.meta import Digest, StatusModel

VERSIONS_KEPT = 10
"""Entries of ``status.versions``; the registry holds the full history."""

VersionReason = Literal["SpecChanged", "BaseModelChanged", "DataChanged", "RankDoubled", "Imported"]
VersionState = Literal["Published", "Rejected", "Refused"]


class Version(StatusModel):
    """One published version, as the registry's manifest tells it."""

    number: int
    """Version number."""
    digest: Digest
    """Digest of the manifest."""
    recipe: Digest
    """Digest of the training inputs."""
    base_digest: Digest
    """Base that it was trained on."""
    base_revision: str = ""
    """Revision of that base."""
    reason: VersionReason = "SpecChanged"
    """Why it was made."""
    state: VersionState = "Published"
    """Published; Rejected by the gate; Refused by the serving pods."""
    message: str = ""
    """Why it was rejected or refused."""
    eval_loss: str | None = None
    """Evaluation loss, nats per token."""
    base_eval_loss: str | None = None
    """Evaluation loss of the base alone on the same rows."""
    exact_match: str | None = None
    """Part of the held-out rows that is answered exactly, 0 to 1."""
    base_exact_match: str | None = None
    """The same of the base alone."""
    published_time: datetime | None = None
    """When its manifest was committed."""


class TrainingProgress(StatusModel):
    """The training Job that runs now."""

    job: str
    """Name of the Job."""
    recipe: Digest
    """Digest of the training inputs."""
    state: str = "Pending"
    """Pending, Loading, Training, Evaluating, Publishing or Published."""
    step: int = 0
    """Optimizer steps done."""
    max_steps: int = 0
    """Optimizer steps in all."""
    loss: str | None = None
    """Training loss, nats per token."""
    eta_seconds: int | None = None
    """Estimated seconds to the end of training."""


class ServedVersion(StatusModel):
    """A version that the alias points to, or did before."""

    number: int
    """Version number."""
    digest: Digest
    """Digest of the manifest."""
    base_digest: Digest
    """Base that it is served on."""


class AdapterServingStatus(StatusModel):
    """What the serving pods were told, and what they say."""

    target: ServedVersion | None = None
    """The version that the alias is to point to."""
    previous: ServedVersion | None = None
    """The version before: it stays loaded until the target answers everywhere."""
    desired: int = 0
    """Serving pods that are to answer with the target."""
    loaded: int = 0
    """Serving pods that do."""
    failed: int = 0
    """Serving pods that refuse it or can't load it."""
    message: str = ""
    """What the first of the failing pods says."""


class LoraAdapterStatus(StatusModel):
    """What the operator has seen of an adapter."""

    observed_generation: int = -1
    """Generation of the spec that this status is about."""
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    """Accepted, Trained, Evaluated, Published, Served, UpToDate, Ready, Reconciling, Stalled."""
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
    serving: AdapterServingStatus = AdapterServingStatus()
    """What the serving pods were told, and what they say."""
