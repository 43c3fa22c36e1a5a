"""Owners change where the API server asks who changes them for the right to delete the object, as on OpenShift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tests.chart.conftest import Render
from tests.control_plane import BASES, CONFIG_MAPS, ApiClient, Kind, etcd_and_api_server
from tests.control_plane.client import APPLY

from graft_operator.api.meta import ObjectMeta
from graft_operator.manifests.workloads.anchor import anchor_manifest, anchored
from graft_operator.reconcilers.executor import OWNED

Object = dict[str, Any]

SERVING = Path(__file__).resolve().parents[2] / "data/manifests/serving/output.yaml"
OPERATOR = "system:serviceaccount:graft-system:graft-operator"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
BASE = {
    "apiVersion": "graft.dev/v1alpha1",
    "kind": "BaseModel",
    "metadata": {"name": "qwen", "namespace": "team-a"},
    "spec": {"source": {"s3": {"uri": "s3://models/qwen/"}}},
}


async def apply(client: ApiClient, body: Object) -> Object:
    resource, metadata = OWNED[body["kind"]], body["metadata"]
    path = Kind(body["apiVersion"], resource.plural).path("team-a", metadata["name"])
    query = {"fieldManager": "graft-operator", "force": "true"}
    return await client.request("PATCH", path, query=query, body=body, content_type=APPLY)


async def test_what_an_older_release_has_made_gets_its_anchor_and_is_left_to_it(render: Render) -> None:
    async with (
        etcd_and_api_server(plugins="OwnerReferencesPermissionEnforcement") as plane,
        plane.client() as people,
        plane.client(impersonate=OPERATOR, group="system:authenticated") as operator,
    ):
        for manifest in render():
            if manifest["kind"].startswith("ClusterRole"):
                await people.request("POST", f"{RBAC}/{manifest['kind'].lower()}s", body=manifest)
        await people.ensure_namespace("team-a")
        base = ObjectMeta.model_validate((await people.create(BASES, "team-a", BASE))["metadata"])
        anchor = (await apply(operator, anchor_manifest(base)))["metadata"]["uid"]
        going = base.model_copy(update={"deletion_timestamp": base.creation_timestamp})
        assert going.is_deleting
        for given in yaml.safe_load_all(SERVING.read_text()):
            if given["kind"] not in OWNED or given["metadata"]["name"].endswith("-anchor"):
                continue
            references = [item | {"uid": base.uid} for item in given["metadata"].get("ownerReferences", ())]
            alone = given | {"metadata": given["metadata"] | {"ownerReferences": references[:1]}}
            await apply(operator, alone)
            assert len(owners(await apply(operator, anchored(alone, base, anchor)))) == 2
            assert owners(await apply(operator, anchored(alone, going, anchor))) == [anchor]
        assert await operator.get(CONFIG_MAPS, "team-a", "graft-qwen-bbbbbbbb")


def owners(body: Object) -> list[str]:
    return [item["uid"] for item in body["metadata"]["ownerReferences"]]
