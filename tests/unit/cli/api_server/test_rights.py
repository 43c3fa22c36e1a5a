"""What this person may not see is named, and the rest goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.cli import objects
from tests.unit.cli.api_server.scripted import Answer, Script, api_server, refused, settled

from graft_cli.errors import ExitCode

POD = {
    "metadata": {"name": "p", "namespace": "team-a", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"containers": [{"name": "trainer"}]},
    "status": {"phase": "Running"},
}


def forbidding(*parts: str, otherwise: Script = settled) -> Script:
    def script(method: str, path: str, body: Any) -> Answer:
        if any(part in path for part in parts):
            return refused(403, f"you may not see {path.partition('?')[0].rpartition('/')[2]}")
        return otherwise(method, path, body)

    return script


def test_adapters_are_shown_to_who_may_not_list_bases(tmp_path: Path) -> None:
    with api_server(forbidding("/basemodels"), tmp_path) as server:
        code, out, err = server.graft("status")
        assert code == ExitCode.FORBIDDEN
        assert "you may not see basemodels" in out
        assert "there is no such BaseModel" not in out
        assert "support  v6" in out
        assert "`kubectl graft doctor`" in err
        assert server.graft("status", "support", "-o", "json")[1].count('"Forbidden"') == 1


def test_bases_are_shown_to_who_may_not_list_adapters(tmp_path: Path) -> None:
    with api_server(forbidding("/loraadapters"), tmp_path) as server:
        code, out, _ = server.graft("status")
    assert code == ExitCode.FORBIDDEN
    assert "base team-a/tiny" in out


def test_who_may_list_nothing_is_shown_nothing(tmp_path: Path) -> None:
    with api_server(forbidding("/"), tmp_path) as server:
        code, out, err = server.graft("status")
    assert (code, out) == (ExitCode.FORBIDDEN, "")
    assert "There are no BaseModels" not in err


def test_the_log_of_a_training_needs_no_base(tmp_path: Path) -> None:
    body = objects.adapter(status={"training": objects.training()}).raw

    def cluster(_: str, path: str, __: Any) -> Answer:
        if path.endswith("/loraadapters/support"):
            return Answer(200, body)
        if "/log" in path:
            return Answer(200, "step 1\n", "text/plain")
        return Answer(200, {"kind": "PodList", "metadata": {}, "items": [POD]})

    with api_server(forbidding("/basemodels", otherwise=cluster), tmp_path) as server:
        assert server.graft("logs", "support")[:2] == (0, "step 1\n")
        code, _, err = server.graft("logs", "support", "--of", "import")
    assert code == ExitCode.FORBIDDEN, "whether there is one is not known"
    assert "you may not see tiny" in err


def test_one_pod_whose_log_is_not_there_yet_leaves_the_others(tmp_path: Path) -> None:
    body = objects.adapter(status={"training": objects.training()}).raw
    both = [{**POD, "metadata": {**POD["metadata"], "name": name}} for name in ("first", "second")]  # type: ignore[dict-item]

    def cluster(_: str, path: str, __: Any) -> Answer:
        if path.endswith("/loraadapters/support"):
            return Answer(200, body)
        if "/first/log" in path:
            return refused(400, "container trainer in pod first is waiting to start: ContainerCreating")
        if "/second/log" in path:
            return Answer(200, "step 1\n", "text/plain")
        return Answer(200, {"kind": "PodList", "metadata": {}, "items": both})

    with api_server(forbidding("/basemodels", otherwise=cluster), tmp_path) as server:
        code, out, err = server.graft("logs", "support")
    assert (code, out) == (ExitCode.FAILED, "[second] step 1\n")
    assert "waiting to start" in err


def test_the_doctor_goes_on_where_a_part_of_the_api_is_away(tmp_path: Path) -> None:
    def script(method: str, path: str, body: Any) -> Answer:
        if path == "/version/":
            version = dict.fromkeys(
                ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major", "minor", "platform"), "x"
            )
            return Answer(200, version | {"gitVersion": "v1.35.0"})
        if "leases" in path:
            return Answer(200, {"metadata": {"name": "graft-operator"}})
        return refused(503, "the server is currently unable to handle the request")

    with api_server(script, tmp_path) as server:
        code, out, err = server.graft("doctor")
    assert (code, err) == (ExitCode.FAILED, "")
    assert "✓ cluster  Kubernetes v1.35.0" in out
    assert "nobody holds it" in out
    for what in ("CRDs", "rights", "registry", "GPUs"):
        assert f"✗ {what}" in out
