"""What the CRDs refuse, the models refuse: the same table runs against a real API server in tests/e2e."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.unit.crds.bad_specs import BAD_SPECS, PARSERS, REFUSED_BY_RULES, BadSpec, example

import generate_crds

UID = {"uid": "1"}


@pytest.mark.parametrize("bad", BAD_SPECS, ids=str)
def test_the_models_refuse_it(bad: BadSpec) -> None:
    body = bad.manifest()
    body["metadata"].update(UID)
    with pytest.raises(ValidationError) as caught:
        PARSERS[bad.kind](body)
    assert bad.path.rpartition(".")[2] in str(caught.value), "the error must name the field"


@pytest.mark.parametrize("name", ["BaseModel", "LoraAdapter", "on-demand", "imported"])
def test_the_models_accept_the_example(name: str) -> None:
    body = example(name)
    body["metadata"].update(UID)
    PARSERS[body["kind"]](body)


@pytest.mark.parametrize("kind", PARSERS)
def test_every_rule_has_a_bad_spec(kind: str) -> None:
    schema = generate_crds.custom_resource_definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in generate_crds.nodes(schema):
        for rule in node.get("x-kubernetes-validations", []):
            if "oldSelf" in rule["rule"]:
                continue  # a model sees one state of the object; tests/e2e tries the transition
            assert any(bad.kind == kind and bad.says in rule["message"] for bad in REFUSED_BY_RULES), (
                f"no bad spec breaks the rule of {path}: {rule['message']}"
            )
