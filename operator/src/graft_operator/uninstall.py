"""``python -m graft_operator release-finalizers``: let every object of ours go, because nobody will be left to do it.

The chart runs it before a release is deleted. The operator goes first, or it would put its finalizers back; adapters
with ``deletionPolicy: Delete`` that are still there keep their versions in the bucket, and are named in the log.
"""

from __future__ import annotations

import asyncio
import logging

from graft_operator.api.meta import ObjectMeta
from graft_operator.cluster import Cluster, Forbidden, Invalid, NotFound
from graft_operator.cluster.resources import BASE_MODELS, CONFIG_MAPS, DEPLOYMENTS, LORA_ADAPTERS, PODS, Resource
from graft_operator.manifests.workloads.anchor import anchor_name

log = logging.getLogger(__name__)

OPERATOR_PODS = "app.kubernetes.io/name=graft,app.kubernetes.io/component=operator"
WAIT_SECONDS = 60


async def release_finalizers(namespace: str, deployment: str) -> None:
    """Stop the operator and take the finalizers off all its objects."""
    async with Cluster.connect(identity="graft-uninstall") as cluster:
        await stop_operator(cluster, namespace, deployment)
        await release_everything(cluster)


async def release_everything(cluster: Cluster) -> None:
    """Let all of our objects go; anchors first, for a base that is being deleted is gone with its finalizer."""
    await release_all(cluster, LORA_ADAPTERS)
    await delete_anchors(cluster)
    await release_all(cluster, BASE_MODELS)


async def stop_operator(cluster: Cluster, namespace: str, deployment: str) -> None:
    """Delete the operator's Deployment and wait until its pod is gone."""
    await cluster.delete(DEPLOYMENTS, namespace, deployment)
    for _ in range(WAIT_SECONDS):
        if not await cluster.list(PODS, namespace, label_selector=OPERATOR_PODS):
            return
        await asyncio.sleep(1)
    log.warning("the operator's pod is still there; going on", extra={"namespace": namespace})


async def release_all(cluster: Cluster, resource: Resource) -> None:
    """Take our finalizers off every object of one kind; those of others stay."""
    for body in await cluster.list(resource):
        metadata = body["metadata"]
        kept = [name for name in metadata.get("finalizers", []) if not name.startswith(f"{resource.group}/")]
        if len(kept) == len(metadata.get("finalizers", [])):
            continue
        log.info(
            "finalizers released", extra={"kind": resource.kind, "key": f"{metadata['namespace']}/{metadata['name']}"}
        )
        patch = [{"op": "add", "path": "/metadata/finalizers", "value": kept}]
        try:
            await cluster.patch_json(resource, metadata["namespace"], metadata["name"], patch)
        except NotFound:
            continue


async def delete_anchors(cluster: Cluster) -> None:
    """Let all that bases serve with go with them from now on: nobody would be left to delete the anchors."""
    for body in await cluster.list(BASE_MODELS):
        metadata = ObjectMeta.model_validate(body["metadata"])
        try:
            await cluster.delete(CONFIG_MAPS, metadata.namespace, anchor_name(metadata))
        except (Forbidden, Invalid) as error:  # such as of a namespace that this operator does not watch: another may
            told = {"namespace": metadata.namespace, "base": metadata.name, "error": str(error)}
            log.info("an anchor is not ours to delete", extra=told)
