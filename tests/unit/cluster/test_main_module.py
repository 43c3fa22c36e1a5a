from pathlib import Path

import pytest

from graft_cluster.addons.gitops.tools import REGISTRY, filled
from graft_cluster.cache import Cache
from graft_cluster.programs.golang import GoBuild
from graft_cluster.programs.main_module import MainModule, ensure
from graft_cluster.steps import StepFailed, Steps

GO = """#!/bin/sh
# Downloads a module that nobody may write to, and "builds" by listing what is there.
echo "$*" >> "$CALLS"
case "$1 $2" in
  "mod download") mkdir -p "$GOMODCACHE/$3/cmd" && touch "$GOMODCACHE/$3/go.mod" && chmod -R a-w "$GOMODCACHE/$3" ;;
  "mod edit") echo "$3" >> go.mod ;;
  "build "*)
    [ -z "$GO_FAILS" ] || exit 1
    while [ "$1" != -o ]; do shift; done
    find . | sort > "$2" ;;
esac
"""
PROGRAM = MainModule(
    GoBuild("server", "example.com/server", "1.2.3", ("example.com/server/cmd",)),
    local_modules=("example.com/server/api",),
    generated=("ui/dist/page",),
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(GO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return Cache(tmp_path / "cache")


def test_a_program_is_built_once_in_a_copy_of_its_module(cache: Cache, tmp_path: Path) -> None:
    built = ensure(cache, Steps(cache), PROGRAM)
    assert built == cache.root / "go/server-1.2.3/server"
    assert "./ui/dist/page" in built.read_text().splitlines()
    module = cache.root / "go-modules/example.com/server@v1.2.3"
    assert (module / "go.mod").read_text() == ""
    assert not (module / "ui").exists()
    calls = (tmp_path / "calls").read_text()
    assert "mod edit -dropreplace=example.com/server/api" in calls
    assert ensure(cache, Steps(cache), PROGRAM) == built
    assert (tmp_path / "calls").read_text() == calls


def test_a_build_that_failed_is_begun_anew(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GO_FAILS", "yes")
    with pytest.raises(StepFailed, match=r"build server 1\.2\.3"):
        ensure(cache, Steps(cache), PROGRAM)
    monkeypatch.setenv("GO_FAILS", "")
    assert ensure(cache, Steps(cache), PROGRAM).exists()


def test_every_place_of_the_kustomizations_is_filled() -> None:
    folder = Path(__file__).resolve().parents[3] / "hack/manifests/gitops"
    for tool in ("flux", "argocd"):
        text = filled((folder / tool / "kustomization.yaml").read_text())
        assert "$(" not in text
        assert REGISTRY in text
