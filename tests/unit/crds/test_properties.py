"""For arbitrary specs: what the models accept, the schemas accept; what a schema accepts, only a validator refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from tests.unit.crds.strategies import wire_forms

import generate_crds
from graft_operator.api.meta import ApiModel

KINDS = list(generate_crds.MODELS)
SPEC_SCHEMAS = {kind: generate_crds.model_schema(spec) for kind, (spec, _) in generate_crds.MODELS.items()}
SPECS = {kind: wire_forms(spec) for kind, (spec, _) in generate_crds.MODELS.items()}

thorough = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("kind", KINDS)
@thorough
@given(data=st.data())
def test_accepted_spec_fits_the_schema(kind: str, data: st.DataObject) -> None:
    model, _ = generate_crds.MODELS[kind]
    spec = accepted(model, data.draw(SPECS[kind]))
    Draft202012Validator(SPEC_SCHEMAS[kind]).validate(spec.to_wire())


def accepted(model: type[ApiModel], wire: dict[str, Any]) -> ApiModel:
    """Return the parsed spec; a spec that only a validator refuses is not counted."""
    try:
        return model.model_validate(wire)
    except ValidationError as error:
        refusals = {detail["type"] for detail in error.errors()}
    # Bounds, types and patterns are in the schema that the spec was drawn from.
    assert refusals == {"value_error"}
    return reject()


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_of_the_schema_are_accepted_by_it(kind: str) -> None:
    for path, node in generate_crds.nodes(SPEC_SCHEMAS[kind]):
        if "default" in node:
            assert Draft202012Validator(node).is_valid(node["default"]), path
