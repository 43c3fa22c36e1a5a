"""Gathers what the next step of an adapter depends on: from the cache, from what the registry and the agents are known
to say, and from nowhere else. Nothing is decided here, and nothing is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import ValidationError

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_model import BaseModel, ResolvedBase
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.cluster.resources import BASE_MODELS, JOBS, PODS
from graft_operator.controller_runtime.keys import AdapterKey
from graft_operator.manifests import naming
from graft_operator.manifests.jobs.resolve_job import RESOLVE
from graft_operator.manifests.labels import COMPONENT
from graft_operator.plan.adapter.fast_path import is_settled
from graft_operator.plan.base.importing import resolved_as
from graft_operator.plan.imports.origin import homes, is_bound
from graft_operator.plan.jobs import JobObserved, OccupiedName
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.rollout.coverage import as_reached
from graft_operator.plan.snapshot import AdapterSnapshot, Decision, PodObserved
from graft_operator.plan.training.recipe_choice import recipes_to_look_up
from graft_operator.plan.training.versions import home_digest, is_given_up, newest_published
from graft_operator.reconcilers.failure_conditions import first_error
from graft_operator.reconcilers.one_pass import Dependencies
from graft_operator.reconcilers.snapshots.jobs import job_observed, occupied_name
from graft_operator.reconcilers.snapshots.merged_pods import merged_deployment, merged_pods
from graft_operator.reconcilers.snapshots.serving_pods import pod_observed, serving_pods, short_digest
from graft_operator.reconcilers.snapshots.workloads import queueing_of
from graft_operator.routing import is_terminating
from graft_registry.documents import StoredVersion, VersionVerdict

T = TypeVar("T")


@dataclass(slots=True)
class Answers:
    """Takes the registry's answers apart, and keeps the first that is not known."""

    unknown: Unknown | None = None

    def value(self, answer: Known[T] | Unknown) -> T | None:
        """Return what is known; None where nothing is there, or nothing is known."""
        if isinstance(answer, Known):
            return answer.value
        # What has failed says more than what is merely on its way.
        if self.unknown is None or not self.unknown.reason:
            self.unknown = answer
        return None


class AdapterSnapshots:
    """Gathers, for one adapter at a time."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._bases: dict[tuple[str, str], tuple[tuple[str, int], tuple[BaseModel | None, str]]] = {}
        """By namespace and name: the version that was parsed, and what came of it."""

    def of(self, adapter: LoraAdapter, cleanup_problem: str = "") -> AdapterSnapshot:
        """Return the snapshot of an adapter.

        The registry is asked about nothing where the status says all that is needed: thousands of settled adapters must
        not each read their versions when the operator starts, nor a deletion be held up by a registry that is away.
        """
        base, base_problem = self._base(adapter)
        jobs = self._jobs(adapter)
        seen = AdapterSnapshot(
            adapter=adapter,
            base=base,
            base_problem=base_problem,
            jobs=tuple(job for component, job in jobs if component != RESOLVE),
            resolve_job=next((job for component, job in jobs if component == RESOLVE), None),
            occupied_names=self._occupied_names(adapter),
            trainer_image=self._dependencies.platform.trainer_image,
            platform_asks=self._dependencies.platform.tenant_pods.changes(),
            pods=as_reached(self._pods(adapter, base), self._dependencies.clock()),
            cleanup_problem=cleanup_problem,
        )
        if adapter.metadata.is_deleting:
            return seen
        seen = replace(self._with_rows(self._with_merged(seen)), is_lost=self._is_lost(adapter))
        return seen if is_settled(seen) else self._with_registry(seen)

    def measure(self, seen: AdapterSnapshot) -> None:
        """Have the pods asked often for what they measure, because a version is held to its limits."""
        metadata = seen.adapter.metadata
        for pod in seen.pods:
            self._dependencies.agents.measure(metadata.namespace, pod.name, adapter=metadata.name)

    def forget(self, key: AdapterKey) -> None:
        """Forget an adapter that is gone."""
        self._dependencies.dataset_digests.forget(key)
        self._dependencies.artifacts.forget_adapter(key.namespace, key.name)
        self._dependencies.executor.forget(key.kind, key.namespace, key.name)

    def _base(self, adapter: LoraAdapter) -> tuple[BaseModel | None, str]:
        """Return the base, or why there is none; it is parsed once for all of its adapters."""
        namespace, name = adapter.metadata.namespace, adapter.spec.base_model_ref.name
        version = self._dependencies.cache.version(BASE_MODELS, namespace, name)
        if version is None:
            self._bases.pop((namespace, name), None)
            return None, f"spec.baseModelRef.name: there is no BaseModel {name} in this namespace; apply it"
        known = self._bases.get((namespace, name))
        if known is None or known[0] != version:
            known = self._bases[namespace, name] = (version, self._parsed(namespace, name))
        return known[1]

    def _parsed(self, namespace: str, name: str) -> tuple[BaseModel | None, str]:
        try:
            return BaseModel.parse(self._dependencies.cache.get(BASE_MODELS, namespace, name) or {}), ""
        except ValidationError as error:
            return None, f"BaseModel {name} is invalid: {first_error(error)}"

    def _jobs(self, adapter: LoraAdapter) -> tuple[tuple[str, JobObserved], ...]:
        """Return the Jobs of the adapter, each with what it is for; terminating ones only if the adapter is, too."""
        cache, namespace, uid = self._dependencies.cache, adapter.metadata.namespace, adapter.metadata.uid
        jobs = [
            job for job in cache.owned(JOBS, namespace, uid) if adapter.metadata.is_deleting or not is_terminating(job)
        ]
        if not jobs:
            return ()
        pods = cache.owned(PODS, namespace, uid)
        uids = [item["metadata"]["uid"] for item in (*jobs, *pods)]
        events = {child: cache.events_of(namespace, child) for child in uids}
        seen = (replace(job_observed(job, pods, events), queueing=queueing_of(job, cache)) for job in jobs)
        return tuple(zip((job["metadata"]["labels"].get(COMPONENT, "") for job in jobs), seen, strict=True))

    def _occupied_names(self, adapter: LoraAdapter) -> tuple[OccupiedName, ...]:
        """Return the Jobs of an adapter of this name that are another one's, or on their way out."""
        metadata = adapter.metadata
        cache = self._dependencies.cache
        jobs = cache.named_for(JOBS, metadata.namespace, metadata.name)
        found = (occupied_name(job, metadata.uid, queueing_of(job, cache)) for job in jobs)
        return tuple(item for item in found if item is not None)

    def _pods(self, adapter: LoraAdapter, base: BaseModel | None) -> tuple[PodObserved, ...]:
        """Return the base's pods, but where the adapter is served merged and they have nothing of it."""
        is_merged = adapter.spec.serving.mode == "Merged"
        if base is None or (is_merged and adapter.status.serving.version_served_as("MultiAdapter") is None):
            return ()
        digests = {naming.short(revision.digest): revision.digest for revision in base.status.serving}
        pods = serving_pods(self._dependencies.cache, self._dependencies.agents, base.metadata)
        decisions = self._decisions(adapter, base)
        return tuple(
            pod_observed(pod, digests[short_digest(pod.body)], adapter.metadata.name, decisions)
            for pod in pods
            if short_digest(pod.body) in digests
        )

    def _decisions(self, adapter: LoraAdapter, base: BaseModel) -> dict[str, Decision]:
        """Return what the present wanted sets decide for the adapter, by their digests; only a rollout asks for it."""
        if adapter.status.serving.previous is None:
            return {}
        written = [
            self._dependencies.written_sets.of(base.metadata.namespace, item.deployment) for item in base.status.serving
        ]
        name = adapter.metadata.name
        return {item.digest: item.decisions[name] for item in written if name in item.decisions}

    def _with_rows(self, seen: AdapterSnapshot) -> AdapterSnapshot:
        """Add the digests of the rows to learn from, and of those to evaluate with."""
        dataset, key = seen.adapter.spec.dataset, _key(seen.adapter)
        rows = self._dependencies.dataset_digests.rows(key, dataset, "spec.dataset")
        own = dataset.evaluation if dataset is not None else None
        evaluation = self._dependencies.dataset_digests.rows(key, own, "spec.dataset.evaluation")
        return replace(
            seen,
            dataset_digest=rows.digest,
            evaluation_digest=evaluation.digest,
            dataset_problem=rows.problem or evaluation.problem,
            unknown=Unknown() if rows.is_pending or evaluation.is_pending else None,
        )

    def _with_merged(self, seen: AdapterSnapshot) -> AdapterSnapshot:
        adapter, cache, agents = seen.adapter, self._dependencies.cache, self._dependencies.agents
        if adapter.spec.serving.mode != "Merged" and adapter.status.serving.version_served_as("Merged") is None:
            return seen
        return replace(
            seen,
            merged_pods=as_reached(merged_pods(cache, agents, adapter.metadata), self._dependencies.clock()),
            merged_deployment=merged_deployment(cache, adapter.metadata),
        )

    def _is_lost(self, adapter: LoraAdapter) -> bool:
        """Whether the version that is current is known to have vanished; it is looked for now and then."""
        status, metadata, artifacts = adapter.status, adapter.metadata, self._dependencies.artifacts
        current = status.serving.target or newest_published(status.versions)
        if current is None:
            return False
        artifacts.audit(metadata.namespace, metadata.name, current.number, current.digest)
        return artifacts.is_lost(metadata.namespace, metadata.name, current.number, current.digest)

    def _with_registry(self, seen: AdapterSnapshot) -> AdapterSnapshot:
        """Add what is known of the registry, as far as the next step depends on it."""
        adapter, answers = seen.adapter, Answers(seen.unknown)
        metadata, serving = adapter.metadata, adapter.status.serving
        pinned = answers.value(self._version(adapter, adapter.spec.version))
        history = self._history(adapter, answers)
        verdicts = self._verdicts(adapter, history, answers)
        if answers.unknown is not None:
            history = ()  # without what was decided about them, one that was rolled back looks like a good one
        seen = replace(
            seen,
            pinned=pinned,
            reference=answers.value(self._version(adapter, adapter.spec.training.reference_version)),
            pinned_has_base=self._has_base(pinned, seen.base),
            live=answers.value(self._version(adapter, *_numbered(serving.target))),
            stable=answers.value(self._version(adapter, *_numbered(serving.previous))),
            history=history,
            verdicts=verdicts,
            kept_base=self._kept_base(seen, history, verdicts, answers),
        )
        artifacts = self._dependencies.artifacts
        recipes = recipes_to_look_up(replace(seen, unknown=answers.unknown))
        found = {recipe: artifacts.of_recipe(metadata.namespace, metadata.name, recipe) for recipe in recipes}
        running = next((job.recipe for job in seen.jobs if job.state == "Active"), None)
        progress = artifacts.progress(metadata.namespace, metadata.name, running) if running else None
        return replace(seen, found=found, progress=progress, unknown=answers.unknown)

    def _version(
        self, adapter: LoraAdapter, number: int | None, digest: str | None = None
    ) -> Known[StoredVersion] | Unknown:
        if number is None:
            return Known(None)
        metadata = adapter.metadata
        return self._dependencies.artifacts.version(metadata.namespace, metadata.name, number, digest)

    def _history(self, adapter: LoraAdapter, answers: Answers) -> tuple[StoredVersion, ...]:
        """Return the newest versions of the registry, for an object that knows of none: a cluster built anew.

        So, too, for one that serves nothing and knows of a version that was given up: one before it may be good.
        """
        versions, serves = adapter.status.versions, adapter.status.serving.target is not None
        if versions and (serves or not any(map(is_given_up, versions))):
            return ()
        return (
            answers.value(self._dependencies.artifacts.history(adapter.metadata.namespace, adapter.metadata.name)) or ()
        )

    def _verdicts(
        self, adapter: LoraAdapter, history: tuple[StoredVersion, ...], answers: Answers
    ) -> Mapping[int, VersionVerdict]:
        """Return which of the versions were given up, as far as it is only the registry that remembers."""
        if not history:
            return {}
        metadata = adapter.metadata
        return answers.value(self._dependencies.artifacts.verdicts(metadata.namespace, metadata.name)) or {}

    def _kept_base(
        self,
        seen: AdapterSnapshot,
        history: tuple[StoredVersion, ...],
        verdicts: Mapping[int, VersionVerdict],
        answers: Answers,
    ) -> ResolvedBase | None:
        """Return the former base that the adapter is kept on: by policy Never, or as it was imported for that."""
        base, adapter = seen.base, seen.adapter
        if base is None or (resolved := base.status.resolved) is None:
            return None
        home = home_digest(adapter.status, history) if base.spec.readaptation.policy == "Never" else None
        if home is None and is_bound(adapter, resolved.digest, history, verdicts):
            home = homes(adapter, history, verdicts)[0]
        if home in (None, resolved.digest):
            return None
        manifest = answers.value(self._dependencies.artifacts.base(base.metadata.namespace, base.metadata.name, home))
        return None if manifest is None else resolved_as(manifest, manifest.source.digest())

    def _has_base(self, version: StoredVersion | None, base: BaseModel | None) -> bool:
        """Whether the version's base is the present one, or one that can be served again, as far as is known."""
        resolved = base.status.resolved if base else None
        if version is None or base is None or resolved is None or version.manifest.base.digest == resolved.digest:
            return True
        digest = version.manifest.base.digest
        return self._dependencies.artifacts.base(base.metadata.namespace, base.metadata.name, digest) != Known(None)


def _key(adapter: LoraAdapter) -> AdapterKey:
    return AdapterKey(adapter.metadata.namespace, adapter.metadata.name)


def _numbered(version: ServedVersion | None) -> tuple[int | None, str | None]:
    return (None, None) if version is None else (version.number, version.digest)
