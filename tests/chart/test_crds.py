"""The chart's CRDs: those of ``crds/``, kept when the release goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tests.chart.conftest import CHART, Manifest, Render

CRDS = CHART.parents[1] / "crds"


def rendered_crds(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == "CustomResourceDefinition"}


def committed_crds() -> dict[str, Any]:
    found = [yaml.safe_load(path.read_text()) for path in Path(CRDS).glob("*.yaml")]
    return {crd["metadata"]["name"]: crd for crd in found}


def test_the_chart_installs_the_committed_crds(render: Render) -> None:
    rendered, committed = rendered_crds(render()), committed_crds()
    assert rendered.keys() == committed.keys() == {"basemodels.graft.dev", "loraadapters.graft.dev"}
    for name, crd in committed.items():
        assert rendered[name]["spec"] == crd["spec"]


def test_crds_outlive_the_release_unless_told_otherwise(render: Render) -> None:
    for crd in rendered_crds(render()).values():
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    for crd in rendered_crds(render({"crds": {"keep": False}})).values():
        assert "annotations" not in crd["metadata"]


def test_crds_can_be_left_to_somebody_else(render: Render) -> None:
    assert not rendered_crds(render({"crds": {"install": False}}))
