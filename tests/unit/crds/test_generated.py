"""The committed CRDs are what the models give, and what an API server can take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

import generate_crds
from generate_crds import UntranslatableSchemaError, model_schema, nodes
from graft_operator.api.meta import ApiModel

ANNOTATION_LIMIT = 262_144
"""Client-side apply keeps the whole object in one annotation."""

KINDS = list(generate_crds.MODELS)
FILES = generate_crds.generated_files()


def root_schema(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = generate_crds.custom_resource_definition(kind)["spec"]["versions"][0]["schema"]
    return schema["openAPIV3Schema"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(Path.cwd())))
def test_committed_file_is_up_to_date(path: Path) -> None:
    assert path.read_text() == FILES[path], "run `make manifests`"


def test_nothing_else_lies_beside_the_generated_files() -> None:
    folders = {generate_crds.CRDS, generate_crds.CHART_CRDS}
    assert {path for folder in folders for path in folder.iterdir()} == set(FILES)


@pytest.mark.parametrize("kind", KINDS)
def test_manifest_reads_back_as_it_was_written(kind: str) -> None:
    definition = generate_crds.custom_resource_definition(kind)
    assert yaml.load(generate_crds.manifest(definition), yaml.CSafeLoader) == definition


@pytest.mark.parametrize("kind", KINDS)
def test_number_like_strings_are_quoted_for_yaml_1_2(kind: str) -> None:
    assert "default: 2e-4" not in generate_crds.manifest(generate_crds.custom_resource_definition(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_size_leaves_room_for_client_side_apply(kind: str) -> None:
    assert len(generate_crds.manifest(generate_crds.custom_resource_definition(kind)).encode()) < ANNOTATION_LIMIT


@pytest.mark.parametrize("kind", KINDS)
def test_every_node_is_typed_bounded_and_described(kind: str) -> None:
    for path, node in nodes(root_schema(kind)):
        assert "type" in node, path
        if not path.startswith(("spec", "status")):
            continue
        match node["type"]:
            case "string":
                assert node.keys() & {"maxLength", "enum", "format"}, f"{path} is an unbounded string"
            case "array":
                assert "maxItems" in node or path == "status.conditions", f"{path} is an unbounded list"
                assert "x-kubernetes-list-type" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, f"{path} is an unbounded map"
        if not path.endswith(("[]", "{}")):
            assert node.get("description"), f"{path} has no description"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_inside_a_list_has_a_default(kind: str) -> None:
    """GitOps tools compare lists as wholes, and would find a difference in each item that was filled in, for ever."""
    filled = [path for path, node in nodes(root_schema(kind)) if "[]" in path and "default" in node]
    assert filled == []


@pytest.mark.parametrize("kind", KINDS)
def test_new_object_is_not_current_for_kstatus(kind: str) -> None:
    assert root_schema(kind)["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_keyword_without_translation_is_an_error() -> None:
    class Strange(ApiModel):
        fraction: int = Field(multiple_of=2)

    with pytest.raises(UntranslatableSchemaError, match="multipleOf"):
        model_schema(Strange)


def test_union_of_several_types_is_an_error() -> None:
    class Strange(ApiModel):
        port: int | str

    with pytest.raises(UntranslatableSchemaError, match="union"):
        model_schema(Strange)
