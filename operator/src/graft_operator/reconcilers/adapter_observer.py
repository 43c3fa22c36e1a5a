"""Reads everything that the next step of an adapter depends on, and nothing that it doesn't."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import VERSIONS_KEPT, Version
from graft_operator.api.base_model import BaseModel, ResolvedBase
from graft_operator.api.dataset import DatasetSource
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.artifacts import Artifacts
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.resources import BASE_MODELS, CONFIG_MAPS, JOBS, PODS
from graft_operator.manifests import labels, naming
from graft_operator.plan.base.importing import resolved_as
from graft_operator.plan.snapshot import AdapterSnapshot, Decision, JobObserved, PodObserved
from graft_operator.plan.training.candidates import Candidate, CandidateDecision, candidates, has_failed
from graft_operator.plan.training.memory import with_chosen_method
from graft_operator.plan.training.rank import with_effective_rank
from graft_operator.plan.training.recipe import fulfilling_recipes
from graft_operator.plan.training.versions import home_digest, known_versions
from graft_operator.reconcilers.jobs import job_observed, job_state
from graft_operator.reconcilers.merged_pods import merged_deployment, merged_pods
from graft_operator.reconcilers.problems import problem
from graft_operator.reconcilers.serving_pods import decision_in, pod_observed, serving_pods, short_digest
from graft_registry.digests import sha256_digest
from graft_registry.documents import StoredVersion
from graft_registry.errors import NotFound

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a dataset, as far as the operator can see them."""

    digest: str | None = None
    problem: str = ""


class AdapterObserver:
    """Reads, for one adapter at a time."""

    def __init__(self, cluster: Cluster, artifacts: Artifacts, agents: Agents) -> None:
        self._cluster = cluster
        self._artifacts = artifacts
        self._agents = agents

    async def observe(self, adapter: LoraAdapter) -> AdapterSnapshot:
        """Return the snapshot. Raises what the cluster and the registry raise when they are away."""
        base, base_problem = await self._base(adapter)
        if adapter.metadata.is_deleting:
            return await self._observe_deletion(adapter, base)
        (rows, evaluation), (history, live, pinned), jobs, pods = await asyncio.gather(
            self._both_rows(adapter),
            asyncio.gather(self._history(adapter), self._live(adapter), self._stored(adapter, adapter.spec.version)),
            self._jobs(adapter),
            self._pods(adapter, base),
        )
        kept_base = await self._kept_base(adapter, base, history) if base else None
        if (trained_on := kept_base or (base.status.resolved if base else None)) is not None:
            adapter = with_chosen_method(adapter, trained_on)
        ways = ways_to_fulfil(adapter, base, trained_on, (rows, evaluation), live, history)
        choice = await self._choose(adapter, ways, live, known_versions(adapter.status.versions, history))
        recipe, training = choice.recipe, choice.published is None and choice.recipe is not None
        return AdapterSnapshot(
            adapter=adapter,
            base=base,
            base_problem=base_problem,
            kept_base=kept_base,
            dataset_digest=rows.digest,
            evaluation_digest=evaluation.digest,
            dataset_problem=rows.problem or evaluation.problem,
            recipe=recipe,
            warm_start=choice.candidate.warm_start if choice.candidate else None,
            published=choice.published,
            rejected=choice.rejected,
            pinned=pinned,
            pinned_has_base=await self._has_base(pinned, base),
            live=live,
            history=history,
            jobs=jobs,
            progress=await self._progress(adapter, recipe) if training and recipe and jobs else None,
            readaptations=await self._readaptations(adapter, base) if training and live and base else 0,
            pods=pods,
            merged_pods=await merged_pods(self._cluster, adapter.metadata) if is_merged(adapter) else (),
            merged_deployment=await merged_deployment(self._cluster, adapter.metadata) if is_merged(adapter) else None,
        )

    async def _observe_deletion(self, adapter: LoraAdapter, base: BaseModel | None) -> AdapterSnapshot:
        """Leave the registry alone: one that is away must not hold up a deletion."""
        return AdapterSnapshot(
            adapter=adapter,
            base=base,
            jobs=await self._jobs(adapter),
            pods=await self._pods(adapter, base),
        )

    async def _base(self, adapter: LoraAdapter) -> tuple[BaseModel | None, str]:
        name = adapter.spec.base_model_ref.name
        body = await self._cluster.get(BASE_MODELS, adapter.metadata.namespace, name)
        if body is None:
            return None, f"spec.baseModelRef.name: there is no BaseModel {name} in this namespace; apply it"
        try:
            return BaseModel.parse(body), ""
        except ValidationError as error:
            return None, f"BaseModel {name} is invalid: {problem(error)}"

    async def _both_rows(self, adapter: LoraAdapter) -> tuple[Rows, Rows]:
        """Return the rows to learn from, and those to evaluate with."""
        dataset = adapter.spec.dataset
        return await asyncio.gather(
            self._rows(adapter, dataset, "spec.dataset"),
            self._rows(adapter, dataset.evaluation, "spec.dataset.evaluation"),
        )

    async def _rows(self, adapter: LoraAdapter, source: DatasetSource | None, field: str) -> Rows:
        """Return the digest of the rows where the operator may read them, and what is wrong with them."""
        if source is None:
            return Rows()
        if source.config_map is None:
            return Rows(digest=source.s3.digest if source.s3 else None)
        name, key = source.config_map.name, source.config_map.key
        body = await self._cluster.get(CONFIG_MAPS, adapter.metadata.namespace, name)
        content = config_map_content(body or {}, key)
        if content is None:
            what = f"key {key} in ConfigMap {name}" if body else f"ConfigMap {name}"
            return Rows(problem=f"{field}: there is no {what} in this namespace; apply it")
        return Rows(digest=sha256_digest(content))

    async def _kept_base(
        self, adapter: LoraAdapter, base: BaseModel, history: tuple[StoredVersion, ...]
    ) -> ResolvedBase | None:
        """Return the former base that policy Never keeps the adapter on. Raises NotFound where its manifest is gone."""
        resolved, home = base.status.resolved, home_digest(adapter.status, history)
        if base.spec.readaptation.policy != "Never" or resolved is None or home in (None, resolved.digest):
            return None
        manifest = await self._artifacts.base(base.metadata.namespace, base.metadata.name, home)
        return resolved_as(manifest, manifest.source.digest())

    async def _choose(
        self, adapter: LoraAdapter, ways: Sequence[Candidate], live: StoredVersion | None, known: Sequence[Version]
    ) -> CandidateDecision:
        """Choose the first way that has not failed its gate, or else the last one."""
        rejected: tuple[StoredVersion, ...] = ()
        for way in ways:
            published = await self._published(adapter, way, live, known)
            if published is None or way == ways[-1] or not has_failed(published, live, adapter.spec.evaluation):
                return CandidateDecision(way, published, rejected)
            rejected = (*rejected, published)
        return CandidateDecision()

    async def _jobs(self, adapter: LoraAdapter) -> tuple[JobObserved, ...]:
        metadata = adapter.metadata
        selector = f"{labels.OWNER_UID}={metadata.uid}"
        jobs = await self._cluster.list(JOBS, metadata.namespace, label_selector=selector)
        if not adapter.metadata.is_deleting:  # a deletion waits for Jobs to be gone for good
            jobs = [job for job in jobs if not job["metadata"].get("deletionTimestamp")]
        pods = await self._cluster.list(PODS, metadata.namespace, label_selector=selector) if jobs else []
        return tuple(job_observed(job, pods) for job in jobs)

    async def _published(
        self, adapter: LoraAdapter, way: Candidate, live: StoredVersion | None, known: Sequence[Version]
    ) -> StoredVersion | None:
        """Return the version of the way's recipes: what is live, by number what is known, or what the registry finds.

        The registry is asked only for the recipe that would be trained: it is asked again with every look until then.
        """
        if live is not None and live.manifest.recipe in way.recipes:
            return live
        for recipe in way.recipes:
            entry = next((version for version in known if version.recipe == recipe), None)
            if entry is not None and (stored := await self._stored(adapter, entry.number, entry.digest)) is not None:
                return stored
        return await self._artifacts.find_version(adapter.metadata.namespace, adapter.metadata.name, way.recipes[0])

    async def _stored(
        self, adapter: LoraAdapter, number: int | None, digest: str | None = None
    ) -> StoredVersion | None:
        metadata = adapter.metadata
        if number is None:
            return None
        try:
            return await self._artifacts.read_version(metadata.namespace, metadata.name, number, digest)
        except NotFound:
            return None

    async def _live(self, adapter: LoraAdapter) -> StoredVersion | None:
        target = adapter.status.serving.target
        return await self._stored(adapter, target.number, target.digest) if target else None

    async def _has_base(self, version: StoredVersion | None, base: BaseModel | None) -> bool:
        """Whether the version's base is the present one, or one that can be served again."""
        resolved = base.status.resolved if base else None
        if version is None or base is None or resolved is None or version.manifest.base.digest == resolved.digest:
            return True
        try:
            await self._artifacts.base(base.metadata.namespace, base.metadata.name, version.manifest.base.digest)
        except NotFound:
            return False
        return True

    async def _history(self, adapter: LoraAdapter) -> tuple[StoredVersion, ...]:
        """Return the newest versions of the registry, for an object that knows of none: a cluster built anew."""
        if adapter.status.versions:
            return ()
        namespace, name = adapter.metadata.namespace, adapter.metadata.name
        numbers = sorted(await self._artifacts.version_numbers(namespace, name), reverse=True)[:VERSIONS_KEPT]
        return tuple([await self._artifacts.read_version(namespace, name, number) for number in numbers])

    async def _progress(self, adapter: LoraAdapter, recipe: str) -> Any:
        return await self._artifacts.progress(adapter.metadata.namespace, adapter.metadata.name, recipe)

    async def _readaptations(self, adapter: LoraAdapter, base: BaseModel) -> int:
        """Count the other adapters of the base that are being re-adapted now."""
        selector = f"{labels.BASE_UID}={base.metadata.uid},{labels.READAPTATION}=true"
        jobs = await self._cluster.list(JOBS, adapter.metadata.namespace, label_selector=selector)
        return sum(
            job_state(job)[0] == "Active" and job["metadata"]["labels"].get(labels.OWNER_UID) != adapter.metadata.uid
            for job in jobs
        )

    async def _pods(self, adapter: LoraAdapter, base: BaseModel | None) -> tuple[PodObserved, ...]:
        """Return the base's pods, but where the adapter is served merged and they have nothing of it."""
        is_merged = adapter.spec.serving.mode == "Merged"
        if base is None or (is_merged and adapter.status.serving.version_served_as("MultiAdapter") is None):
            return ()
        digests = {naming.short(revision.digest): revision.digest for revision in base.status.serving}
        pods = await serving_pods(self._cluster, self._agents, base.metadata)
        decisions = await self._decisions(adapter, base)
        return tuple(
            pod_observed(pod, digests[short_digest(pod.body)], adapter.metadata.name, decisions)
            for pod in pods
            if short_digest(pod.body) in digests
        )

    async def _decisions(self, adapter: LoraAdapter, base: BaseModel) -> dict[str, Decision]:
        """Return what the present wanted sets decide for the adapter, by their digests; only a rollout asks for it."""
        if adapter.status.serving.previous is None:
            return {}
        decisions = {}
        for revision in base.status.serving:
            body = await self._cluster.get(CONFIG_MAPS, adapter.metadata.namespace, revision.deployment)
            if body is not None and (found := decision_in(body, adapter.metadata.name)) is not None:
                decisions[found[0]] = found[1]
        return decisions


def is_merged(adapter: LoraAdapter) -> bool:
    """Whether the adapter has a merged model, or is to have one."""
    return adapter.spec.serving.mode == "Merged" or adapter.status.serving.version_served_as("Merged") is not None


def config_map_content(body: Object, key: str) -> bytes | None:
    """Return the file that a pod would see under a key of a ConfigMap, None where there is none."""
    if (text := body.get("data", {}).get(key)) is not None:
        return str(text).encode()
    binary = body.get("binaryData", {}).get(key)
    return None if binary is None else base64.b64decode(binary)


def ways_to_fulfil(
    adapter: LoraAdapter,
    base: BaseModel | None,
    trained_on: ResolvedBase | None,
    data: tuple[Rows, Rows],
    live: StoredVersion | None,
    history: tuple[StoredVersion, ...],
) -> tuple[Candidate, ...]:
    """Return the ways to fulfil the spec with training and evaluation rows; none while that can't be told."""
    rows, evaluation = data
    if base is None or trained_on is None or rows.problem or evaluation.problem:
        return ()
    recipes_of = partial(
        fulfilling_recipes,
        with_effective_rank(adapter).spec,
        dataset_digest=rows.digest,
        evaluation_digest=evaluation.digest,
    )
    return candidates(recipes_of, base, trained_on, live, known_versions(adapter.status.versions, history))
