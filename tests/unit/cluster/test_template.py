from pathlib import Path

import pytest

from graft_cluster.cache import Cache
from graft_cluster.kind.template import link_store
from graft_cluster.steps import StepFailed, Steps


def test_a_store_shares_everything_but_its_databases(tmp_path: Path) -> None:
    template = tmp_path / "template"
    layer = template / "io.containerd.snapshotter.v1.overlayfs" / "snapshots" / "1" / "fs"
    layer.mkdir(parents=True)
    (layer / "app.db").write_text("part of an image")
    blob = template / "io.containerd.content.v1.content" / "blobs" / "sha256" / "1"
    blob.parent.mkdir(parents=True)
    blob.write_text("blob")
    database = template / "io.containerd.metadata.v1.bolt" / "meta.db"
    database.parent.mkdir()
    database.write_text("template")

    store = tmp_path / "store"
    with Steps(Cache(tmp_path / "cache")).step("copy") as step:
        link_store(step, template, store)
    (store / "io.containerd.metadata.v1.bolt" / "meta.db").write_text("node")

    assert database.read_text() == "template"
    assert (store / blob.relative_to(template)).samefile(blob)
    link = store / layer.parent.relative_to(template)
    assert link.readlink() == Path("/var/graft/template") / layer.parent.relative_to(template)


def test_an_empty_folder_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "template").mkdir()
    with (
        pytest.raises(StepFailed, match="not a containerd store"),
        Steps(Cache(tmp_path / "cache")).step("copy") as step,
    ):
        link_store(step, tmp_path / "template", tmp_path / "store")
