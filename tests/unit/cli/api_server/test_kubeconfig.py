"""The kubeconfig as kubectl takes it, and what is said where it can't be used."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.api_server.scripted import api_server, called, kubeconfig, settled

from graft_cli.client import connect
from graft_cli.client.kubeconfig import proxy_of
from graft_cli.errors import ExitCode, Unreachable

NOWHERE = "http://127.0.0.1:1"


def exec_plugin(command: str) -> dict[str, Any]:
    return kubeconfig(NOWHERE, exec={"apiVersion": "client.authentication.k8s.io/v1", "command": command})


UNUSABLE: dict[str, Any] = {
    "no YAML": "{",
    "bytes": "\x01\x02",
    "a list": [1],
    "empty": "",
    "no contexts": kubeconfig(NOWHERE) | {"contexts": None},
    "another context": kubeconfig(NOWHERE) | {"current-context": "her"},
    "no current context": kubeconfig(NOWHERE) | {"current-context": ""},
    "no server": kubeconfig(NOWHERE) | {"clusters": [{"name": "here", "cluster": {"server": None}}]},
    "half an address": kubeconfig("https://[::1"),
    "no address": kubeconfig("not an address"),
    "a certificate that is not there": kubeconfig(
        "https://127.0.0.1:1", **{"client-certificate": "/no", "client-key": "/no"}
    ),
    "a proxy of another kind": kubeconfig(NOWHERE)
    | {"clusters": [{"name": "here", "cluster": {"server": NOWHERE, "proxy-url": "socks5://127.0.0.1:1"}}]},
    "a login that fails": exec_plugin("false"),
    "a login that is not installed": exec_plugin("no-such-plugin"),
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=list(UNUSABLE))
def test_what_can_t_be_used_is_said(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    code, out, err = called("status", "--kubeconfig", str(file))
    assert (code, out) == (ExitCode.UNREACHABLE, "")
    assert "bug" not in err
    assert "to fix: " in err


def test_a_login_that_fails_is_no_anonymous_one(tmp_path: Path) -> None:
    with api_server(settled, tmp_path) as server:
        body = yaml.safe_load(server.kubeconfig.read_text())
        body["users"] = exec_plugin("false")["users"]
        server.kubeconfig.write_text(yaml.safe_dump(body))
        code, _, err = server.graft("status")
    assert (code, server.seen) == (ExitCode.UNREACHABLE, [])
    assert "the login of context here does not work: exec: process returned 1" in err


def test_of_several_files_the_first_context_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "later").write_text(yaml.safe_dump(kubeconfig(NOWHERE, "later")))
    with api_server(settled, tmp_path) as server:
        paths = (tmp_path / "empty", tmp_path / "missing", server.kubeconfig, tmp_path / "later")
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, paths)))
        assert connect().connection.context == "here"
        assert called("status")[0] == 0
        assert connect(context="later").connection.context == "later"
        with pytest.raises(Unreachable, match="did you mean later"):
            connect(context="latre")


def test_a_context_can_be_chosen_where_none_is_current(tmp_path: Path) -> None:
    with api_server(settled, tmp_path) as server:
        body = yaml.safe_load(server.kubeconfig.read_text())
        server.kubeconfig.write_text(yaml.safe_dump({name: body[name] for name in body if name != "current-context"}))
        assert server.graft("status", "--context", "here")[0] == 0


def test_a_proxy_is_taken_as_kubectl_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"HTTPS_PROXY": "http://secure:1", "HTTP_PROXY": "http://plain:1"}
    assert proxy_of({"server": "https://cluster:6443"}, both) == "http://secure:1"
    assert proxy_of({"server": "http://cluster"}, both) == "http://plain:1"
    assert proxy_of({"server": "https://cluster", "proxy-url": "http://own:1"}, both) == "http://own:1"
    for url in ("https://127.0.0.1:6443", "https://localhost", "https://[::1]:6443"):
        assert proxy_of({"server": url}, both) is None
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    with api_server(settled, tmp_path) as server:
        assert server.graft("status")[0] == 0


def test_a_program_that_connects_keeps_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "level", logging.INFO)
    before = list(logging.root.handlers)
    with api_server(settled, tmp_path) as server:
        connect(kubeconfig=str(server.kubeconfig)).bases("team-a")
    assert (logging.root.level, logging.root.handlers) == (logging.INFO, before)
