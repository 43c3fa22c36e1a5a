import shutil
import subprocess
from pathlib import Path

import pytest

from graft_cluster.cache import Cache
from graft_cluster.programs import prometheus
from graft_cluster.steps import StepFailed, Steps

APT_GET = """#!/bin/sh
# Refuses the first download, as without lists of packages.
case "$1" in
  update) touch "$0.updated" ;;
  download) [ -e "$0.updated" ] || exit 100; touch prometheus_2.42.0_amd64.deb ;;
esac
"""
DPKG_DEB = """#!/bin/sh
mkdir -p "$3/usr/bin"
cd "$3/usr/bin"
for name in prometheus promtool; do
  printf '#!/bin/sh\\necho %s' $name > $name
  chmod +x $name
done
"""


def with_programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """Have these programs, and nothing of Prometheus, on the path."""
    folder.mkdir(exist_ok=True)
    for name, content in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(content)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    found = {name.replace("_", "-"): str(folder / name.replace("_", "-")) for name in programs}
    monkeypatch.setattr(shutil, "which", found.get)


def test_debians_package_is_unpacked_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    with_programs(tmp_path / "bin", monkeypatch, apt_get=APT_GET, dpkg_deb=DPKG_DEB)
    prometheus.ensure_prometheus(cache, Steps(cache))
    said = [subprocess.check_output([cache.binaries / name], text=True).strip() for name in prometheus.PROGRAMS]
    assert said == ["prometheus", "promtool"]
    (tmp_path / "bin" / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    prometheus.ensure_prometheus(cache, Steps(cache))  # nothing is fetched twice


def test_the_users_own_programs_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    with_programs(tmp_path / "bin", monkeypatch, prometheus="", promtool="")
    prometheus.ensure_prometheus(cache, Steps(cache))
    assert not (cache.binaries / "promtool").exists()


def test_without_debian_one_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    with_programs(tmp_path / "bin", monkeypatch)
    with pytest.raises(StepFailed, match="install Prometheus"):
        prometheus.ensure_prometheus(cache, Steps(cache))
