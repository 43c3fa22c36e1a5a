"""Two people change one adapter at a time, and wrong names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.cli import objects
from tests.unit.cli.api_server.scripted import Answer, Script, api_server, refused, settled

from graft_cli.errors import ExitCode


class Adapter:
    """An adapter that somebody else changes right after it was read, as often as `changes` has entries."""

    def __init__(self, body: Mapping[str, Any], *changes: dict[str, Any]) -> None:
        self.body, self.changes, self.version = body, list(changes), 1
        self.patches: list[Any] = []

    def __call__(self, method: str, path: str, body: Any) -> Answer:
        if method == "PATCH":
            if body["metadata"]["resourceVersion"] != str(self.version):
                return refused(409, "the object has been modified")
            self.patches.append(body)
        whole = {**self.body, "metadata": {**self.body["metadata"], "resourceVersion": str(self.version)}}
        if method == "GET" and self.changes:
            self.body = {**self.body, "spec": {**self.body["spec"], **self.changes.pop(0)}}
            self.version += 1
        return Answer(200, whole)


def test_who_comes_second_decides_anew(tmp_path: Path) -> None:
    rollout = {"serving": {"rollout": {"abort": 7}}}
    adapter = Adapter(objects.canary().raw, rollout)
    with api_server(adapter, tmp_path) as server:
        assert server.graft("promote", "support")[0] == 0
    (patch,) = adapter.patches
    assert patch["spec"] == {"serving": {"rollout": {"promote": 7, "abort": None}}}, "the abort is taken back"


def test_what_somebody_else_has_done_already_is_refused(tmp_path: Path) -> None:
    adapter = Adapter(objects.adapter().raw, {"version": 3})
    with api_server(adapter, tmp_path) as server:
        code, _, err = server.graft("pin", "support", "3")
    assert (code, adapter.patches) == (ExitCode.FAILED, [])
    assert "pins version 3 already" in err


def test_an_adapter_that_never_rests_is_left_alone(tmp_path: Path) -> None:
    adapter = Adapter(objects.adapter().raw, *({"suspend": False} for _ in range(50)))
    with api_server(adapter, tmp_path) as server:
        code, _, err = server.graft("pin", "support", "3")
    assert (code, adapter.patches) == (ExitCode.FAILED, [])
    assert "somebody else has changed it" in err


def test_one_that_is_deleted_is_not_changed(tmp_path: Path) -> None:
    raw = objects.adapter().raw
    body = {**raw, "metadata": {**raw["metadata"], "deletionTimestamp": "2026-01-01T12:00:00Z", "generation": 9}}
    gone: Script = Adapter(body)
    with api_server(gone, tmp_path) as server:
        for verb in (["pin", "support", "3"], ["suspend", "support"], ["unpin", "support", "--force"]):
            code, _, err = server.graft(*verb)
            assert (code, "is being deleted" in err) == (ExitCode.FAILED, True)
        assert {method for method, _, _ in server.seen} == {"GET"}


def test_a_wrong_name_gets_the_nearest(tmp_path: Path) -> None:
    with api_server(settled, tmp_path) as server:
        for verb in (["history", "suport"], ["pin", "suport", "3"], ["status", "supprt"]):
            code, _, err = server.graft(*verb)
            assert (code, "did you mean support?" in err) == (ExitCode.NOT_FOUND, True), verb
        code, _, err = server.graft("histroy", "support")
        assert (code, "no such command" in err.lower(), "history" in err) == (ExitCode.USAGE, True, True)
        for number in ("0", "v0", "9" * 5000, "²"):
            assert server.graft("pin", "support", number)[0] == ExitCode.USAGE
        assert server.graft("history", "")[0] == ExitCode.NOT_FOUND
