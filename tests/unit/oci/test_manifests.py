"""Manifests as programs write them, and which entry of an index holds the adapter."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from graft_registry.errors import InvalidArtifact
from graft_registry.oci.layers import TITLE, layer_name
from graft_registry.oci.manifests import Index, Manifest, meant_entry, parse_manifest


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def entry(letter: str, architecture: str = "amd64", **platform: Any) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(letter),
        "size": 1,
        "platform": {"os": "linux", "architecture": architecture, **platform},
    }


def meant(*entries: dict[str, Any]) -> str:
    index = parse_manifest({"manifests": list(entries)}, where="it")
    assert isinstance(index, Index)
    return meant_entry(index, where="it").digest


VARIANTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "amd64 and v3": ("x86_64", [entry("b", variant="v3"), entry("a")]),
    "v1 to v4": ("x86_64", [entry("d", variant="v4"), entry("a", variant="v1"), entry("b", variant="v2")]),
    "only v2 and v3": ("x86_64", [entry("b", variant="v3"), entry("a", variant="v2")]),
    "arm64 v8 and v9": ("aarch64", [entry("b", "arm64", variant="v9"), entry("a", "arm64", variant="v8")]),
    "of a machine that is asked for nothing": ("riscv64", [entry("b", variant="v3"), entry("a"), entry("c", "arm64")]),
    "the same under two names": ("x86_64", [entry("a", variant="v1"), entry("a", variant="v3")]),
    "null in place of nothing": ("x86_64", [entry("b", variant="v3"), entry("a", variant=None)]),
}


@pytest.mark.parametrize(("machine", "entries"), VARIANTS.values(), ids=VARIANTS)
def test_of_variants_the_one_for_all_machines_is_meant(
    machine: str, entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert meant(*entries) == meant(*reversed(entries)) == digest("a")


@pytest.mark.parametrize(
    "entries",
    [
        [entry("a"), entry("b")],
        [entry("a", variant="v3"), entry("b", variant="v3")],
        [entry("a", "s390x"), entry("b", "ppc64le")],
        [{**entry("a"), "platform": None}, {**entry("b"), "platform": None}],
    ],
)
def test_what_nothing_tells_apart_is_not_guessed_at(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidArtifact, match="name one by its digest"):
        meant(*entries)


ODD: dict[str, dict[str, Any]] = {
    "null": {"x": None},
    "a number": {"x": 5},
    "a truth": {"x": True},
    "a list": {"x": ["a"]},
    "an object": {"x": {"a": None}},
}


@pytest.mark.parametrize("more", ODD.values(), ids=ODD)
def test_annotations_of_other_kinds_are_passed_over(more: dict[str, Any]) -> None:
    layer = {"mediaType": None, "digest": digest("a"), "size": 1, "annotations": {TITLE: "a.json", **more}}
    found = parse_manifest({"layers": [layer], "config": None, "artifactType": None}, where="it")
    assert isinstance(found, Manifest)
    assert layer_name(found.layers[0]) == "a.json"


@pytest.mark.parametrize("value", [None, 5, ["a.json"]])
def test_a_name_of_another_kind_is_none(value: object) -> None:
    layer = {"digest": digest("a"), "size": 1, "annotations": {TITLE: value}}
    found = parse_manifest({"layers": [layer]}, where="it")
    assert isinstance(found, Manifest)
    assert layer_name(found.layers[0]) is None
