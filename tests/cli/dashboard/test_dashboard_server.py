"""The dashboard's server, as browsers and others ask it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.cli.dashboard.scene import HOSTILE, PodsInMemory, agent, dashboard, held, lora, scene, workloads
from tests.unit.cli import objects

from graft_cli.client import FakeGraft
from graft_cli.dashboard.access import ADDRESS
from graft_cli.dashboard.answers import Answers
from graft_cli.dashboard.opening import opened
from graft_cli.dashboard.server import DashboardServer
from graft_cli.decisions.stored.references import VersionReference
from graft_cli.errors import Forbidden, GraftError


@pytest.fixture
def graft() -> FakeGraft:
    return scene()


@pytest.fixture
def server(graft: FakeGraft) -> Iterator[DashboardServer]:
    with dashboard(graft, reports=report) as running:
        yield running


def report(namespace: str, name: str, version: VersionReference) -> bytes:
    if version.number == 1:
        raise Forbidden("the bucket does not let you", fix="docs/export.md says which login it takes")
    return f"<title>{namespace}/{name} v{version.number}</title><script>document.title = 'hacked'</script>".encode()


def get(
    server: DashboardServer, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(ADDRESS, server.port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def ask(server: DashboardServer, place: str) -> Any:
    _, body = get(server, f"/{server.token}/{place}")
    return json.loads(body)


def events(server: DashboardServer) -> Iterator[Mapping[str, Any]]:
    connection = http.client.HTTPConnection(ADDRESS, server.port, timeout=20)
    connection.request("GET", f"/{server.token}/events")
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def test_nobody_without_the_secret_is_told_anything(server: DashboardServer) -> None:
    for path in ("/", "/events", "/adapter?namespace=team-a&name=support", f"/{server.token[:-1]}/", "/dashboard.js"):
        response, body = get(server, path)
        assert (response.status, b"support" in body) == (403, False)
    rebound, _ = get(server, f"/{server.token}/", Host="evil.example.com")
    assert rebound.status == 421
    embedded, _ = get(server, f"/{server.token}/place", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
    assert embedded.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_it_only_reads(server: DashboardServer, method: str) -> None:
    response, _ = get(server, f"/{server.token}/adapter", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET")


def test_it_listens_on_this_machine_alone(server: DashboardServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(GraftError, match="can't listen on port"):
        DashboardServer(server.answers, server.board, "token", server.port)


def test_no_answer_may_be_kept_framed_or_guessed(server: DashboardServer) -> None:
    for place in ("", "dashboard.js", "place", "nowhere", "report?namespace=team-a&name=support&number=6"):
        response, _ = get(server, f"/{server.token}/{place}")
        found = response.headers
        assert found["Cache-Control"] == "no-store"
        assert (found["X-Frame-Options"], found["X-Content-Type-Options"]) == ("DENY", "nosniff")
        assert (found["Referrer-Policy"], found["Cross-Origin-Resource-Policy"]) == ("no-referrer", "same-origin")
        assert "default-src 'none'" in found["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in found


def test_no_file_but_the_page_s_own_can_be_had(server: DashboardServer) -> None:
    for place in ("../board.py", "..%2fboard.py", "page/index.html", "//etc/passwd", "__init__.py", "%00"):
        response, _ = get(server, f"/{server.token}/{place}")
        assert response.status == 404, place
    response, _ = get(server, f"/{server.token}")
    assert (response.status, response.headers["Location"]) == (308, f"/{server.token}/")


def test_news_come_by_themselves(server: DashboardServer, graft: FakeGraft) -> None:
    told = events(server)
    first = next(told)
    assert first["whole"]
    assert [row["key"] for row in first["bases"]] == ["team-a/qwen", "team-a/tiny", "team-a/gone"]
    assert len(first["adapters"]) == 6
    graft.put(lora("summary", objects.canary().raw))
    graft.put(lora("new", objects.adapter().raw))
    changed: set[str] = set()
    for found in told:
        assert not found["whole"]
        changed |= {row["key"] for row in found["adapters"]}
        if changed == {"team-a/summary", "team-a/new"}:
            break


def test_an_adapter_is_told_with_its_versions_conditions_and_spec(server: DashboardServer) -> None:
    page = ask(server, "adapter?namespace=team-a&name=support")
    assert [line["version"]["number"] for line in page["versions"]] == [7, 6, 5, 4, 3, 2, 1]
    assert page["versions"][0]["uses"] == ["canary 10%"]
    assert "baseModelRef" in page["spec"]
    compared = ask(server, "diff?namespace=team-a&name=support&before=6&after=7")
    assert {"field": "loss", "before": "1.400", "after": "1.300", "change": "-0.1"} in compared["rows"]
    assert "Ready" in [item["type"] for item in ask(server, "base?namespace=team-a&name=tiny")["conditions"]]


@pytest.mark.parametrize(
    ("place", "status", "words"),
    [
        ("adapter?namespace=team-a&name=nobody", 404, "not found"),
        ("adapter?name=support", 409, "parameter namespace is missing"),
        ("diff?namespace=team-a&name=support&before=6&after=99", 409, "tells nothing of version 99"),
        ("diff?namespace=team-a&name=support&before=6&after=-7", 409, "no version's number"),
        ("diff?namespace=team-a&name=support&before=6&after=%D9%A7", 409, "no version's number"),
        ("pods?namespace=team-a&base=gone", 404, "not found"),
        ("nowhere", 404, "nothing at /nowhere"),
    ],
)
def test_what_can_t_be_told_is_an_error_with_words(
    server: DashboardServer, place: str, status: int, words: str
) -> None:
    response, body = get(server, f"/{server.token}/{place}")
    assert response.status == status
    assert words in json.loads(body)["message"]


def test_a_curve_is_that_of_the_log_and_else_what_was_seen(server: DashboardServer, graft: FakeGraft) -> None:
    found = ask(server, "curve?namespace=team-a&name=topic")
    assert (found["source"], found["curve"]["maxSteps"]) == ("Logged", 248)
    assert found["curve"]["training"][0]["step"] == 8
    assert found["curve"]["training"][-1] == {"step": 144, "loss": 0.412}, "what status tells"
    assert len(found["curve"]["evaluation"]) == 3
    assert ask(server, "curve?namespace=team-a&name=summary") == {"curve": None, "source": "Seen", "problem": ""}
    silent = workloads()
    silent.by_selector.clear()
    with dashboard(graft, silent) as other:
        found = ask(other, "curve?namespace=team-a&name=topic")
        assert (found["source"], found["curve"]["training"]) == ("Seen", [{"step": 144, "loss": 0.412}])


def test_a_curve_without_the_right_to_read_logs_says_so(graft: FakeGraft) -> None:
    class Strangers(PodsInMemory):
        def log(self, *_: object) -> Any:
            raise Forbidden("you may not get pods/log")

    with dashboard(graft, Strangers(workloads().by_selector)) as server:
        found = ask(server, "curve?namespace=team-a&name=topic")
    assert (found["source"], found["problem"]) == ("Seen", "you may not get pods/log")
    assert found["curve"]["training"] == [{"step": 144, "loss": 0.412}]


def test_pods_tell_what_they_hold_and_one_that_does_not_is_no_harm(server: DashboardServer) -> None:
    first, second = ask(server, "pods?namespace=team-a&base=tiny")["pods"]
    assert [item["name"] for item in first["adapters"]] == ["support", "topic", "speech"]
    assert [(item["number"], item["weight"]) for item in first["adapters"][0]["versions"]] == [(7, 10), (6, 90)]
    assert "does not answer" in second["problem"]


def test_hostile_words_stay_one_line_of_json(graft: FakeGraft) -> None:
    pods = workloads()
    pods.states = dict.fromkeys(pods.states, agent(*(held("support", (7, 100), message=text) for text in HOSTILE)))
    with dashboard(graft, pods) as server:
        found = ask(server, "pods?namespace=team-a&base=tiny")["pods"][0]["adapters"]
    assert [item["versions"][0]["message"] for item in found] == list(HOSTILE)


def test_a_report_is_shown_without_its_scripts_or_says_why_not(server: DashboardServer, graft: FakeGraft) -> None:
    place = f"/{server.token}/report?namespace=team-a&name=support&number="
    response, body = get(server, f"{place}6")
    assert (response.status, b"team-a/support v6" in body) == (200, True)
    assert response.headers["Content-Security-Policy"].startswith("sandbox;")
    refused, words = get(server, f"{place}1")
    assert (refused.status, b"docs/export.md" in words) == (403, True)
    with dashboard(graft) as without:
        refused, words = get(without, f"/{without.token}/report?namespace=team-a&name=support&number=6")
        assert (refused.status, b"--registry" in words) == (409, True)


def test_a_browser_that_goes_away_ends_its_stream(server: DashboardServer) -> None:
    told = events(server)
    next(told)
    told.close()  # type: ignore[attr-defined]
    assert ask(server, "place") == {"context": "demo", "namespace": "team-a", "reports": True}


def test_garbage_is_no_harm(server: DashboardServer) -> None:
    for garbage in (
        b"\x16\x03\x01\x02",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: [\r\n\r\n",
    ):
        with socket.create_connection((ADDRESS, server.port), timeout=10) as raw:
            raw.sendall(garbage)
            raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):  # closed before all of it was read
                assert b" 200 " not in raw.recv(4096).partition(b"\r\n")[0]
    assert ask(server, "place")["context"] == "demo"


def test_a_bug_in_one_view_is_told_there(graft: FakeGraft, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Answers, "_where", fail)
    with dashboard(graft) as server:
        response, body = get(server, f"/{server.token}/place")
        assert (response.status, json.loads(body)["message"]) == (500, "ZeroDivisionError: division by zero")
        assert ask(server, "adapter?namespace=team-a&name=support")["key"] == "team-a/support"


def test_the_secret_is_on_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def note(url: str) -> bool:
        given.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", note)
    with opened("http://127.0.0.1:1/s3cret/") as found:
        assert found
        (url,) = given
        assert "s3cret" not in url
        file = Path(url.removeprefix("file://"))
        assert "http://127.0.0.1:1/s3cret/" in file.read_text()
        assert (file.stat().st_mode & 0o077, file.parent.stat().st_mode & 0o077) == (0, 0)
    assert not file.exists()
