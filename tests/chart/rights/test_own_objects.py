"""The operator's account writes what belongs to it and nothing else: on a real API server, with the chart's policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from tests.chart.conftest import Render
from tests.control_plane import ApiClient, ApiError, ControlPlane, Kind, etcd_and_api_server, until
from tests.control_plane.client import APPLY, CONFIG_MAPS

from graft_operator.api.meta import ObjectMeta
from graft_operator.manifests.workloads.anchor import anchor_manifest
from graft_operator.reconcilers.executor import OWNED

Object = dict[str, Any]

GOLDEN = Path(__file__).resolve().parents[2] / "data/manifests"
OPERATOR = "system:serviceaccount:graft-system:graft-operator"
HOOK = "system:serviceaccount:graft-system:graft-release-finalizers"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
OWNER = {"apiVersion": "graft.dev/v1alpha1", "kind": "BaseModel", "name": "qwen", "uid": "u"}
ANCHOR = {"apiVersion": "v1", "kind": "ConfigMap", "name": "graft-qwen-u-anchor", "uid": "u"}
OURS = {"labels": {"app.kubernetes.io/managed-by": "graft"}, "ownerReferences": [OWNER]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(render: Render) -> AsyncIterator[ControlPlane]:
    """An API server on which the policy is in force, and what somebody else has in a namespace."""
    async with etcd_and_api_server(crds=False) as plane, plane.client() as people:
        for manifest in render():
            if manifest["kind"].startswith("ValidatingAdmissionPolicy"):
                plural = "validatingadmissionpolicies" if manifest["kind"].endswith("Policy") else BINDINGS
                await people.request("POST", f"{ADMISSION}/{plural}", body=manifest)
        for namespace in ("team-a", "kube-system", "graft-system"):
            await people.ensure_namespace(namespace)
        await people.create(CONFIG_MAPS, "kube-system", config_map("theirs"))
        async with plane.client(impersonate=OPERATOR) as operator:
            assert await until(lambda: is_refused(operator, "POST", config_map("probe")), patience=60)
        yield plane


DEPLOYMENTS = Kind("apps/v1", "deployments")
OPERATORS_OWN: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "graft-operator"},
    "spec": {
        "selector": {"matchLabels": {"app": "operator"}},
        "template": {
            "metadata": {"labels": {"app": "operator"}},
            "spec": {"containers": [{"name": "operator", "image": "operator"}]},
        },
    },
}
BINDINGS = "validatingadmissionpolicybindings"


@pytest.fixture
async def operator(plane: ControlPlane) -> AsyncIterator[ApiClient]:
    """The operator's account. It may do anything here, so that nothing but the policy refuses."""
    async with plane.client(impersonate=OPERATOR) as client:
        yield client


def config_map(name: str, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name} | metadata, "data": {}}


async def is_refused(client: ApiClient, method: str, body: Object) -> bool:
    """Try it, and tell whether the policy was what kept it from happening."""
    name = None if method == "POST" else body["metadata"]["name"]
    query = {"dryRun": "All"} | ({"fieldManager": "graft", "force": "true"} if method == "PATCH" else {})
    path, content_type = CONFIG_MAPS.path("kube-system", name), APPLY if method == "PATCH" else ""
    sent = None if method == "DELETE" else body
    try:
        await client.request(method, path, query=query, body=sent, content_type=content_type)
    except ApiError as error:
        if "belong to a BaseModel or LoraAdapter: configmaps" in error.message:
            return True
        raise
    return False


def golden() -> Iterator[Any]:
    """Every object of the golden manifests but InferencePools, whose kind is not installed here."""
    for folder in sorted(GOLDEN.iterdir()):
        for body in yaml.safe_load_all((folder / "output.yaml").read_text()):
            if body["kind"] == "InferencePool":
                continue
            yield pytest.param(body, id=f"{folder.name}-{body['kind']}-{body['metadata']['name']}")


@pytest.mark.parametrize("body", [*golden()])
async def test_all_that_the_operator_makes_passes(operator: ApiClient, body: Object) -> None:
    kind = Kind(body["apiVersion"], OWNED[body["kind"]].plural)
    await operator.create(kind, body["metadata"]["namespace"], body, dry_run=True)


async def test_an_anchor_belongs_to_nobody_and_holds_nothing(operator: ApiClient) -> None:
    anchor = anchor_manifest(ObjectMeta.model_validate(OWNER | {"namespace": "kube-system"}))
    assert not await is_refused(operator, "POST", anchor)
    assert await is_refused(operator, "POST", anchor | {"data": {"rows.jsonl": "{}"}})
    assert await is_refused(operator, "POST", anchor | {"binaryData": {"rows.jsonl": "e30="}})
    assert await is_refused(operator, "POST", config_map("anchor-of-rows", labels=anchor["metadata"]["labels"]))


async def test_what_an_anchor_keeps_can_be_written(operator: ApiClient) -> None:
    assert not await is_refused(operator, "POST", config_map("kept", **OURS | {"ownerReferences": [ANCHOR]}))


async def test_uninstalling_deletes_nothing_of_others(plane: ControlPlane) -> None:
    async with plane.client() as people:
        await people.create(CONFIG_MAPS, "kube-system", config_map("of-somebody"))
        await people.create(DEPLOYMENTS, "graft-system", OPERATORS_OWN)
    async with plane.client(impersonate=HOOK) as hook:
        assert await is_refused(hook, "DELETE", config_map("of-somebody"))
        await hook.delete(DEPLOYMENTS, "graft-system", OPERATORS_OWN["metadata"]["name"])


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": OURS["labels"]},
        {"ownerReferences": [OWNER]},
        OURS | {"ownerReferences": [OWNER | {"apiVersion": "apps/v1"}]},
    ],
    ids=["neither", "only the label", "only an owner", "another kind of owner"],
)
async def test_nothing_else_can_be_created(operator: ApiClient, metadata: Object) -> None:
    assert await is_refused(operator, "POST", config_map("new", **metadata))


async def test_what_is_not_its_own_is_neither_changed_nor_taken_over_nor_deleted(operator: ApiClient) -> None:
    assert await is_refused(operator, "PATCH", config_map("theirs", **OURS))
    assert await is_refused(operator, "DELETE", config_map("theirs"))


ANCHORED = OURS | {"ownerReferences": [ANCHOR]}
BARE: dict[str, Object] = {
    "of a base": config_map("ours", **OURS),
    "of a base that is being deleted": config_map("ours", **ANCHORED),
    "an anchor": {
        name: part for name, part in config_map("ours-anchor", labels=OURS["labels"]).items() if name != "data"
    },
}


@pytest.mark.parametrize("ours", BARE.values(), ids=BARE)
async def test_a_label_that_somebody_took_off_is_put_back(
    operator: ApiClient, plane: ControlPlane, ours: Object
) -> None:
    name = ours["metadata"]["name"]
    await operator.create(CONFIG_MAPS, "kube-system", ours)
    async with plane.client() as people:
        bare = {"metadata": {"labels": None}}
        assert "labels" not in (await people.patch(CONFIG_MAPS, "kube-system", name, bare))["metadata"]
    assert not await is_refused(operator, "PATCH", ours)
    await operator.delete(CONFIG_MAPS, "kube-system", name)


def test_no_kind_that_the_operator_writes_is_left_out(render: Render) -> None:
    (policy,) = (item for item in render() if item["kind"] == "ValidatingAdmissionPolicy")
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert {resource.plural for resource in OWNED.values()} == set(rule["resources"])
    assert {resource.group for resource in OWNED.values()} == set(rule["apiGroups"])


async def test_people_do_as_they_did(plane: ControlPlane) -> None:
    async with plane.client() as people:
        await people.create(CONFIG_MAPS, "team-a", config_map("mine"))
        await people.delete(CONFIG_MAPS, "kube-system", "theirs-too")
