"""Reads everything that the next step of an adapter depends on, and nothing that it doesn't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import VERSIONS_KEPT, Version
from graft_operator.api.base_model import BaseModel
from graft_operator.api.dataset import DatasetSource
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.artifacts import Artifacts
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.resources import BASE_MODELS, CONFIG_MAPS, JOBS, PODS
from graft_operator.manifests import labels, naming
from graft_operator.plan.observed import AdapterObserved, Decision, JobObserved, PodObserved
from graft_operator.plan.recipe import recipe_digest
from graft_operator.reconcilers.jobs import job_observed, job_state
from graft_operator.reconcilers.obstacles import complaint
from graft_operator.reconcilers.serving_pods import decision_in, pod_observed, serving_pods, short_digest
from graft_registry.digests import sha256_digest
from graft_registry.documents import StoredVersion
from graft_registry.errors import NotFound as VersionNotFound

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

    async def observe(self, adapter: LoraAdapter) -> AdapterObserved:
        """Return the snapshot. Raises what the cluster and the registry raise when they are away."""
        base, base_problem = await self._base(adapter)
        if adapter.metadata.is_deleting:
            return await self._observe_deletion(adapter, base)
        rows = await self._rows(adapter, adapter.spec.dataset, "spec.dataset")
        evaluation = await self._rows(adapter, adapter.spec.dataset.evaluation, "spec.dataset.evaluation")
        recipe = self._recipe(adapter, base, rows, evaluation)
        jobs = await self._jobs(adapter)
        published = await self._published(adapter, recipe)
        live = await self._live(adapter)
        training = published is None and recipe is not None
        return AdapterObserved(
            adapter=adapter,
            base=base,
            base_problem=base_problem,
            dataset_digest=rows.digest,
            evaluation_digest=evaluation.digest,
            dataset_problem=rows.problem or evaluation.problem,
            recipe=recipe,
            published=published,
            pinned=await self._pinned(adapter),
            live=live,
            history=await self._history(adapter),
            jobs=jobs,
            progress=await self._progress(adapter, recipe) if training and recipe and jobs else None,
            readaptations=await self._readaptations(adapter, base) if training and live and base else 0,
            pods=await self._pods(adapter, base) if base else (),
        )

    async def _observe_deletion(self, adapter: LoraAdapter, base: BaseModel | None) -> AdapterObserved:
        """Leave the registry alone: one that is away must not hold up a deletion."""
        return AdapterObserved(
            adapter=adapter,
            base=base,
            jobs=await self._jobs(adapter),
            pods=await self._pods(adapter, base) if base else (),
        )

    async def _base(self, adapter: LoraAdapter) -> tuple[BaseModel | None, str]:
        name = adapter.spec.base_model_ref.name
        body = await self._cluster.get(BASE_MODELS, adapter.metadata.namespace, name)
        if body is None:
            return None, f"spec.baseModelRef.name: there is no BaseModel {name} in this namespace; apply it"
        try:
            return BaseModel.parse(body), ""
        except ValidationError as error:
            return None, f"BaseModel {name} is invalid: {complaint(error)}"

    async def _rows(self, adapter: LoraAdapter, source: DatasetSource | None, field: str) -> Rows:
        """Return the digest of the rows where the operator may read them, and what is wrong with them."""
        if source is None:
            return Rows()
        if source.config_map is None:
            return Rows(digest=source.s3.digest if source.s3 else None)
        name, key = source.config_map.name, source.config_map.key
        body = await self._cluster.get(CONFIG_MAPS, adapter.metadata.namespace, name)
        text = (body or {}).get("data", {}).get(key)
        if text is None:
            what = f"key {key} in ConfigMap {name}" if body else f"ConfigMap {name}"
            return Rows(problem=f"{field}: there is no {what} in this namespace; apply it")
        return Rows(digest=sha256_digest(text.encode()))

    def _recipe(self, adapter: LoraAdapter, base: BaseModel | None, rows: Rows, evaluation: Rows) -> str | None:
        if base is None or base.status.resolved is None or rows.problem or evaluation.problem:
            return None
        return recipe_digest(
            adapter.spec,
            base_digest=base.status.resolved.digest,
            dataset_digest=rows.digest,
            evaluation_digest=evaluation.digest,
        )

    async def _jobs(self, adapter: LoraAdapter) -> tuple[JobObserved, ...]:
        metadata = adapter.metadata
        selector = f"{labels.OWNER_UID}={metadata.uid}"
        jobs = await self._cluster.list(JOBS, metadata.namespace, label_selector=selector)
        if not adapter.metadata.is_deleting:  # a deletion waits for Jobs to be gone for good
            jobs = [job for job in jobs if not job["metadata"].get("deletionTimestamp")]
        pods = await self._cluster.list(PODS, metadata.namespace, label_selector=selector) if jobs else []
        return tuple(job_observed(job, pods) for job in jobs)

    async def _published(self, adapter: LoraAdapter, recipe: str | None) -> StoredVersion | None:
        """Return the version of the recipe: by number when the status knows it, else by asking the registry."""
        if recipe is None:
            return None
        known = next((version for version in adapter.status.versions if version.recipe == recipe), None)
        if known is not None and (stored := await self._read(adapter, known)) is not None:
            return stored
        return await self._artifacts.find_version(adapter.metadata.namespace, adapter.metadata.name, recipe)

    async def _read(self, adapter: LoraAdapter, version: Version) -> StoredVersion | None:
        metadata = adapter.metadata
        try:
            return await self._artifacts.read_version(metadata.namespace, metadata.name, version.number, version.digest)
        except VersionNotFound:
            return None

    async def _pinned(self, adapter: LoraAdapter) -> StoredVersion | None:
        number = adapter.spec.version
        if number is None:
            return None
        try:
            return await self._artifacts.read_version(adapter.metadata.namespace, adapter.metadata.name, number)
        except VersionNotFound:
            return None

    async def _live(self, adapter: LoraAdapter) -> StoredVersion | None:
        target = adapter.status.serving.target
        if target is None:
            return None
        metadata = adapter.metadata
        try:
            return await self._artifacts.read_version(metadata.namespace, metadata.name, target.number, target.digest)
        except VersionNotFound:
            return None

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
        selector = f"{labels.BASE_UID}={base.metadata.uid},{labels.REASON}=BaseModelChanged"
        jobs = await self._cluster.list(JOBS, adapter.metadata.namespace, label_selector=selector)
        return sum(
            job_state(job)[0] == "Active" and job["metadata"]["labels"].get(labels.OWNER_UID) != adapter.metadata.uid
            for job in jobs
        )

    async def _pods(self, adapter: LoraAdapter, base: BaseModel) -> tuple[PodObserved, ...]:
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
