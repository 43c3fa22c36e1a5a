"""Frozen snapshots of everything that one decision depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from graft_operator.api.adapter_status import RolloutProgress, ServedMode, ServedVersion, WarmStart
from graft_operator.api.base_model import BaseModel, ResolvedBase
from graft_operator.api.conditions import Condition
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.jobs import JobObserved, OccupiedName
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.rollout.measured import Measured
from graft_registry.documents import BaseDrift, BaseManifest, Progress, StoredVersion, StoreReport, VersionVerdict

Decision = tuple[int, int | None, int]
"""Numbers of an adapter's target and previous version, and the target's weight: which decision a set carries out."""


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """How a version has answered the probes of the version of manifest digest ``of``, on one pod."""

    of: str
    total: int
    asked: int
    right: int

    @property
    def complete(self) -> bool:
        """Whether every probe has been asked."""
        return self.asked == self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionOnPod:
    """One version as one pod's agent sees it."""

    number: int
    digest: str
    state: str
    reason: str = ""
    message: str = ""
    measured: Measured = field(default_factory=Measured)
    score: ProbeScore | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodObserved:
    """A serving pod and what its agent says of one adapter."""

    name: str
    base_digest: str
    ready: bool
    reachable: bool
    ready_time: datetime | None = None
    """Since when Kubernetes has it as ready; None where it is not, or that isn't told."""
    host: str = ""
    """Its address as it stands in a URL; empty before it has one."""
    leaving: bool = False
    """Whether it was told to end; it answers for some more seconds."""
    answering: frozenset[str] = frozenset()
    """Names of the adapters, of those that were asked about, that it answers for."""
    asked: Mapping[str, datetime] = field(default_factory=dict)
    """When each of those adapters was last asked here, by name; without those that nobody has asked for."""
    revision: str = ""
    """Of the agent's state that this was read from; empty where it doesn't tell."""
    wanted_digest: str | None = None
    """Digest of the wanted set that the agent has applied."""
    problem: str = ""
    """Why the agent has not applied the newest one, in its words."""
    decision: Decision | None = None
    """The decision that the pod carries out for the adapter: the one that its agent names, or else that of the wanted
    set that the agent has applied; None when that can't be told."""
    active: Mapping[int, int] = field(default_factory=dict)
    """Weights of the versions that the alias points to on this pod, by number."""
    versions: tuple[VersionOnPod, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSnapshot:
    """Everything that the next step of one adapter depends on."""

    adapter: LoraAdapter
    base: BaseModel | None
    """None when the referenced BaseModel does not exist or can't be parsed."""
    base_problem: str = ""
    """Why ``base`` is None."""
    kept_base: ResolvedBase | None = None
    """The former base that versions still belong to though the base has changed: readaptation.policy is Never, or the
    adapter is bound to the base that it was imported for."""
    dataset_digest: str | None = None
    """Content digest of the training rows, of a ConfigMap or as given; None where only the trainer can tell."""
    evaluation_digest: str | None = None
    """The same of the rows of ``dataset.evaluation``."""
    dataset_problem: str = ""
    """Why the dataset can't be used, as far as the operator can see it."""
    recipe: str | None = None
    """Recipe of the current spec on ``training_base``; None while the base is not resolved."""
    warm_start: WarmStart | None = None
    """The version that the training of ``recipe`` begins with; None for one that begins with nothing."""
    published: StoredVersion | None = None
    """The version of ``recipe`` in the registry."""
    rejected: tuple[StoredVersion, ...] = ()
    """Warm starts that were tried before ``recipe`` and have failed their gate."""
    pinned: StoredVersion | None = None
    """The version that ``spec.version`` names, if it exists."""
    reference: StoredVersion | None = None
    """The version that ``training.preference.referenceVersion`` names, if it exists."""
    pinned_has_base: bool = True
    """Whether the pinned version's base is the present one or one of the registry, which can be served again."""
    live: StoredVersion | None = None
    """The version that the alias was last told to point to."""
    is_lost: bool = False
    """Whether the version that is served is known to have vanished from the registry, or to be damaged there."""
    stable: StoredVersion | None = None
    """The version before it, for as long as the status keeps that."""
    found: Mapping[str, Known[StoredVersion] | Unknown] = field(default_factory=dict)
    """Versions in the registry by their recipe, of the recipes that ``training.recipe_choice`` has looked up."""
    history: tuple[StoredVersion, ...] = ()
    """The newest versions in the registry, read only when the status knows of none."""
    verdicts: Mapping[int, VersionVerdict] = field(default_factory=dict)
    """What the registry remembers of these versions, by number: which of them were given up, and why."""
    unknown: Unknown | None = None
    """Why ``published`` can't be told yet; None where it can."""
    jobs: tuple[JobObserved, ...] = ()
    """Its trainings and imports."""
    resolve_job: JobObserved | None = None
    """The Job that looks at ``spec.source``."""
    occupied_names: tuple[OccupiedName, ...] = ()
    """Jobs of the names that ours would have, and that are not ours."""
    trainer_image: str = ""
    """Image that a training Job would be made with now; empty where that is not told."""
    platform_asks: Mapping[str, Any] = field(default_factory=dict)
    """What the platform asks of the pods of such a Job, where that is not the default."""
    progress: Progress | None = None
    """What the trainer last said about ``recipe``."""
    pods: tuple[PodObserved, ...] = ()
    """Pods of the base, which serve its adapters side by side."""
    merged_pods: tuple[PodObserved, ...] = ()
    """Pods of the adapter's merged model."""
    merged_deployment: DeploymentObserved | None = None
    """What makes these pods, if it is there."""
    cleanup_problem: str = ""
    """Why the last attempt to delete the adapter's versions has failed; empty where none was made or none has."""

    def pods_serving_as(self, mode: ServedMode) -> tuple[PodObserved, ...]:
        """Return the pods that answer in one mode."""
        return self.merged_pods if mode == "Merged" else self.pods

    def replicas_serving_as(self, mode: ServedMode) -> int | None:
        """Return the number of pods that are to answer in one mode; None for as many as the base has."""
        return self.adapter.spec.serving.replicas if mode == "MultiAdapter" else None

    @property
    def training_base(self) -> ResolvedBase | None:
        """The base that a new version is trained on; None while it is not resolved."""
        return self.kept_base or (self.base.status.resolved if self.base else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOfBase:
    """What a base needs to know of one of its adapters."""

    name: str
    deleting: bool = False
    target: ServedVersion | None = None
    previous: ServedVersion | None = None
    progress: RolloutProgress | None = None
    replicas: int | None = None
    """Number of pods that are to hold it; None for all of them."""
    on_demand: bool = False
    """Whether it gives its place to others while nobody asks for it."""
    up_to_date: bool = False
    pinned: bool = False
    """Whether it stays on another version than its spec asks for, since a person has named that one."""
    wants_readaptation: bool = False
    """Whether it is to be trained anew because the base has changed, and nothing but a place is missing for that."""
    readapting: bool = False
    """Whether a training Job is active that was made because the base has changed."""
    behind_since: datetime | None = None
    """Since when it has not been up to date; None where that can't be told."""
    stalled: bool = False
    scores_probes: bool = False
    """Whether a limit of its rollouts depends on how the engine answers probes."""

    @property
    def is_at_rest(self) -> bool:
        """Whether what it serves stays as long as nobody changes anything."""
        return self.up_to_date or self.pinned

    @property
    def weight(self) -> int:
        """Percent of the requests that the target is to answer."""
        return self.progress.weight if self.progress else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentObserved:
    """A serving Deployment."""

    name: str
    uid: str
    base_digest: str
    replicas: int
    ready_replicas: int
    """Of those that are available: they have been ready for long enough to be reached."""
    settled: bool
    """Whether the newest spec is rolled out: updated and available on every replica."""
    message: str = ""
    """What stands in the way, as far as pods and conditions tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolObserved:
    """An InferencePool."""

    uid: str
    owner_uid: str
    """Base that it belongs to; empty for one that we have not made."""
    parents: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    """What each Gateway that uses it says of it, by the Gateway's name or ``namespace/name``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayObserved:
    """Whether the operator can make InferencePools, and the one of the base's name."""

    api: Literal["Served", "Missing", "Forbidden", "Unknown"] = "Missing"
    pool: PoolObserved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSnapshot:
    """Everything that the next step of one base depends on."""

    base: BaseModel
    source_digest: str
    manifest: Known[BaseManifest] | Unknown = Known(None)  # noqa: RUF009 - frozen
    """What the current source was resolved to, once it is in the registry."""
    store_report: Known[StoreReport] | Unknown = Known(None)  # noqa: RUF009 - frozen
    """What the registry's store can do; of value None where the operator could not try."""
    drift: Known[BaseDrift] | Unknown = Known(None)  # noqa: RUF009 - frozen
    """How far ``manifest`` is from the base that the status knows, where that is another one and was measured."""
    manifests: Mapping[str, BaseManifest] = field(default_factory=dict)
    """Base manifests by digest, of the bases that an adapter is or was served on, as far as they are known."""
    lost_bases: Mapping[str, str] = field(default_factory=dict)
    """Why a base's manifest can't be had, by digest: it is not in the registry, or it is damaged. Not one that the
    registry could just not be asked for."""
    import_job: JobObserved | None = None
    concurrency_job: JobObserved | None = None
    adapters: tuple[AdapterOfBase, ...] = ()
    unreadable: frozenset[str] = frozenset()
    """Names of the adapters whose status can't be read: a newer operator wrote it, or a person did."""
    wanted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The wanted set that each revision was last told, by base digest."""
    deployments: tuple[DeploymentObserved, ...] = ()
    pods: tuple[PodObserved, ...] = ()
    leaving_pods: tuple[PodObserved, ...] = ()
    """Pods on their way out; read only where an adapter is not on every pod: they may be all that answers for it."""
    gateway: GatewayObserved = GatewayObserved()
    anchor_uid: str = ""
    """Of the object that keeps what the base serves with; empty where it isn't there."""
