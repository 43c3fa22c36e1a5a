"""The chart that `make publish` packs names the images that were pushed, by digest."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import publish

Helm = Callable[..., subprocess.CompletedProcess[str]]
TARGET = publish.Target(
    registry="registry.example.com/graft", version="1.2.3", python="python", platforms="", network=""
)
DIGESTS = {name: f"sha256:{number:064x}" for number, name in enumerate(("operator", "agent", "registry", "trainer"))}


def test_the_packed_chart_runs_what_was_pushed(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = os.environ.get("GRAFT_CACHE", str(Path.home() / ".cache/graft"))
    monkeypatch.setenv("PATH", f"{cache}/bin", prepend=":")
    monkeypatch.setattr(publish, "OUTPUT", tmp_path)
    archive = publish.pack_chart(TARGET, DIGESTS)
    assert archive.name == "graft-1.2.3.tgz"
    rendered = helm("template", "graft", str(archive), "--set=registry.bucket=graft", "--kube-version=1.35.0").stdout
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    [deployment] = [document for document in documents if document["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/graft/operator@{DIGESTS['operator']}"
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    for name in ("trainer", "agent", "registry"):
        image = f"registry.example.com/graft/{name}@{DIGESTS[name]}"
        assert image in environment.values(), name
    assert "vllm/vllm-openai" in rendered, "the engine is its project's own"


def test_an_image_that_the_values_do_not_have_is_told() -> None:
    with pytest.raises(SystemExit, match="no line for the image stranger"):
        publish.with_images("images:\n", TARGET, {"stranger": DIGESTS["agent"]})
