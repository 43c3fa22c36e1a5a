"""status, history and diff, and what is said where the cluster can't be asked."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from tests.cli.conftest import NAMESPACE, Cluster, manifest
from tests.control_plane import ADAPTERS
from tests.ports import free_port
from tests.unit.cli import objects
from tests.unit.cli.api_server.scripted import called

from graft_cli.client import connect, connection

READER = {"apiGroups": ["graft.dev"], "resources": ["loraadapters", "basemodels"], "verbs": ["get", "list"]}


def test_status_shows_the_tree_of_the_context_s_namespace(cluster: Cluster) -> None:
    shown = cluster.graft("status")
    assert shown.code == 0
    assert "base team-a/tiny" in shown.out
    assert "support  v6  ready, up to date" in shown.out
    assert "\x1b" not in shown.out, "no colours where nobody sees them"


def test_status_of_one_adapter_and_of_all_namespaces(cluster: Cluster) -> None:
    cluster.put(ADAPTERS, manifest("LoraAdapter", objects.adapter("topic").raw))
    assert "topic" not in cluster.graft("status", "support").out
    everywhere = cluster.graft(
        "status", "-A", "-o", "json", "--kubeconfig", str(cluster.kubeconfig), "--context", "test"
    )
    (base,) = everywhere.document["bases"]
    assert [adapter["name"] for adapter in base["adapters"]] == ["support", "topic"]
    elsewhere = cluster.graft("status", "-n", "default")
    assert (elsewhere.code, elsewhere.out) == (0, "")
    assert "There are no BaseModels" in elsewhere.err


def test_status_watches_until_it_is_ended(cluster: Cluster) -> None:
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": ":".join(sys.path), "PYTHONUNBUFFERED": "1"}
    arguments = [sys.executable, "-m", "graft_cli", "status", "-w"]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline().startswith("--- ")
            cluster.put(ADAPTERS, manifest("LoraAdapter", objects.canary().raw))
            deadline = time.monotonic() + 60
            while "canary  v7 answers 10%, v6 90%" not in watching.stdout.readline():
                assert time.monotonic() < deadline
        finally:
            watching.terminate()


def test_history_and_diff_tell_of_versions(cluster: Cluster) -> None:
    assert [line.split()[0] for line in cluster.graft("history", "support").out.splitlines()] == [
        "VERSION", *(f"v{number}" for number in range(6, 0, -1))
    ]  # fmt: skip
    versions = yaml.safe_load(cluster.graft("history", "support", "-o", "yaml").out)["versions"]
    assert versions[0]["number"] == 6
    compared = cluster.graft("diff", "support", "v5", "6")
    assert "loss" in compared.out
    assert "-0.1" in compared.out
    missing = cluster.graft("diff", "support", "v5", "v9")
    assert (missing.code, "tells nothing of version 9" in missing.err) == (1, True)


def test_the_client_reads_the_same_objects(cluster: Cluster) -> None:
    graft = connect(kubeconfig=str(cluster.kubeconfig))
    assert graft.adapter(NAMESPACE, "support").status.served_version == 6
    assert [base.metadata.name for base in graft.bases()] == ["tiny"]


@pytest.fixture(scope="module")
def token(control_plane: Cluster) -> str:
    """Return the token of an account that may read adapters in its namespace."""
    return str(yaml.safe_load(control_plane.person("of-a-pod", READER).read_text())["users"][0]["user"]["token"])


@pytest.fixture
def in_a_pod(cluster: Cluster, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have this process look like one in a pod; return where no kubeconfig is."""
    account = {
        "token": token,
        "namespace": NAMESPACE,
        "ca.crt": (cluster.plane.folder / "certificates" / "apiserver.crt").read_text(),
    }
    for name, content in account.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(connection, "ACCOUNT", tmp_path)
    url = urlsplit(cluster.plane.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(url.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(url.port))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    return tmp_path / "none"


def test_a_pod_asks_its_own_cluster_as_its_account(in_a_pod: Path) -> None:
    assert [adapter.metadata.name for adapter in connect().adapters(NAMESPACE)] == ["support"]
    code, out, err = called("status")
    assert (code, err) == (0, "")
    assert "support" in out
    assert called("status", "-A")[0] == 4, "the account has rights in its own namespace alone"


def test_whoever_names_a_kubeconfig_or_a_context_is_given_no_other_cluster(in_a_pod: Path) -> None:
    for option in ("--context=production", f"--kubeconfig={in_a_pod}"):
        code, _, err = called("status", option)
        assert (code, "kubeconfig" in err) == (5, True), option
    in_a_pod.write_text("{}")
    assert called("status")[0] == 5, "one that is there counts"


def test_what_is_not_there_may_not_be_or_can_t_be_asked_has_an_exit_code_each(cluster: Cluster, tmp_path: Path) -> None:
    missing = cluster.graft("history", "nobody")
    assert (missing.code, '"nobody" not found' in missing.err) == (3, True)
    stranger = cluster.person("stranger")
    refused = cluster.graft("status", kubeconfig=stranger)
    assert (refused.code, "forbidden" in refused.err, "to fix:" in refused.err) == (4, True, True)
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    (tmp_path / "away").write_text(yaml.safe_dump(config))
    away = cluster.graft("status", kubeconfig=tmp_path / "away")
    assert (away.code, "does not answer" in away.err) == (5, True)
    none = cluster.graft("status", kubeconfig=tmp_path / "none")
    assert (none.code, "kubeconfig" in none.err) == (5, True)
    assert cluster.graft("status", "--context", "other").code == 5
    assert cluster.graft("stauts").code == 2
