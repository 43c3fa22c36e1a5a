"""The InferencePool, held to the schema of the kind's own CustomResourceDefinition."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from tests.builders import NAMESPACE, PLATFORM, base_model, serving_revision

from graft_operator.cluster.resources import INFERENCE_POOLS
from graft_operator.manifests import naming
from graft_operator.manifests.workloads.inference_pool import inference_pool
from graft_operator.manifests.workloads.serving import revision_manifests, shared_service

DEFINITION = Path(__file__).resolve().parents[2] / "e2e" / "clusters" / "gateway_crds" / "inferencepools.yaml"
CRD: dict[str, Any] = yaml.safe_load(DEFINITION.read_text())


def closed(node: Any) -> Any:
    """Return the schema with unknown fields refused, which the API server would drop in silence."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {name: closed(child) for name, child in node.items()}
    return inner | {"additionalProperties": False} if "properties" in node else inner


SCHEMA = closed(CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])


def pool(**reference: Any) -> dict[str, Any]:
    gateway = {"endpointPickerRef": {"name": "picker"} | reference}
    base = base_model(serving={"gateway": gateway})
    assert base.spec.serving.gateway is not None
    return inference_pool(base, base.spec.serving.gateway)


def test_the_operator_asks_for_the_kind_that_is_defined() -> None:
    names, version = CRD["spec"]["names"], CRD["spec"]["versions"][0]
    assert version["served"]
    assert (INFERENCE_POOLS.group, INFERENCE_POOLS.version) == (CRD["spec"]["group"], version["name"])
    assert (INFERENCE_POOLS.plural, INFERENCE_POOLS.kind) == (names["plural"], names["kind"])
    assert CRD["spec"]["scope"] == "Namespaced"  # as of all kinds that the operator makes
    assert pool()["apiVersion"] == INFERENCE_POOLS.api_version
    assert pool()["kind"] == INFERENCE_POOLS.kind


@pytest.mark.parametrize("reference", [{}, {"port": 65535, "failureMode": "FailClose"}])
def test_it_fits_the_real_schema(reference: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(pool(**reference)["spec"])


def test_the_schema_is_really_checked() -> None:
    for path, value in (("targetPort", 8000), ("targetPorts", []), ("endpointPickerRef", {"name": ""})):
        spec = deepcopy(pool()["spec"]) | {path: value}
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMA).validate(spec)


def test_it_leads_to_the_pods_and_the_port_of_the_common_service() -> None:
    spec, service = pool()["spec"], shared_service(base_model())["spec"]
    assert spec["selector"]["matchLabels"] == service["selector"]
    assert [port["number"] for port in spec["targetPorts"]] == [port["port"] for port in service["ports"]]


def test_it_selects_the_pods_of_every_revision_by_the_agents_port() -> None:
    selector = pool()["spec"]["selector"]["matchLabels"]
    for letter in "AB":
        *_, deployment = revision_manifests(base_model(), serving_revision(letter), {}, PLATFORM)
        template = deployment["spec"]["template"]
        assert selector.items() <= template["metadata"]["labels"].items()
        (agent,) = template["spec"]["containers"]
        assert naming.API_PORT in [port["containerPort"] for port in agent["ports"]]
    assert pool()["spec"]["targetPorts"] == [{"number": naming.API_PORT}]


def test_it_belongs_to_the_base() -> None:
    metadata = pool()["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("graft-tiny", NAMESPACE)
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("BaseModel", "uid-of-tiny", True)


def test_the_picker_is_what_the_user_named() -> None:
    assert pool(port=9003, failureMode="FailClose")["spec"]["endpointPickerRef"] == {
        "group": "",
        "kind": "Service",
        "name": "picker",
        "port": {"number": 9003},
        "failureMode": "FailClose",
    }


def test_without_a_picker_the_gateway_chooses() -> None:
    base = base_model(serving={"gateway": {}})
    assert base.spec.serving.gateway is not None
    spec = inference_pool(base, base.spec.serving.gateway)["spec"]
    assert "endpointPickerRef" not in spec
    Draft202012Validator(SCHEMA).validate(spec)
