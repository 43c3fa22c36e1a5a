"""Cases are made from the schemas alone, so every field has them, whatever is added."""

from __future__ import annotations

import jsonschema
from tests.fields.cases import PLAIN, all_fields, cases
from tests.fields.schema import specs
from tests.fields.values import limits, nonsense

SCHEMAS = specs()
FIELDS = list(all_fields())


def takes(schema: dict[str, object], value: object) -> bool:
    """Whether a JSON schema takes a value, unknown fields aside."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def test_limits_keep_to_the_schema_and_nonsense_does_not() -> None:
    for field in FIELDS:
        for label, value in limits(field.node):
            assert takes(field.node, value), f"{field}: {label}"
        beyond = [(label, value) for label, value in nonsense(field.node) if label != "unknown field"]
        assert len(beyond) >= 2, field
        for label, value in beyond:
            assert not takes(field.node, value), f"{field}: {label}"


def test_each_case_is_told_apart_and_changes_the_plain_object() -> None:
    for field in FIELDS:
        found = list(cases(field, SCHEMAS[field.kind]))
        assert {case.sense for case in found} >= {"limit", "nonsense"}, field
        assert any(case.spec != PLAIN[field.kind] for case in found), field
        assert len({str(case) for case in found}) == len(found), field


def test_both_kinds_have_fields() -> None:
    assert {field.kind for field in FIELDS} == {"BaseModel", "LoraAdapter"}
    assert any(field.required for field in FIELDS)
