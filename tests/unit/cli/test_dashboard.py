"""What the dashboard decides: who may ask, what the page is told, and what is made of pods' words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.cli import objects
from tests.unit.cli.test_tree import blocked, orphan, pinned, readapting, unseen

from graft_cli.client import FakeGraft
from graft_cli.dashboard.access import refusal
from graft_cli.dashboard.board import Board
from graft_cli.dashboard.curves import POINTS_KEPT, Point, grown, logged, merged, with_points
from graft_cli.dashboard.details import adapter_page, version_diff
from graft_cli.dashboard.holdings import ADAPTERS_READ, TEXT_LIMIT, holding
from graft_cli.dashboard.rows import adapter_row, base_row, changes, missing_bases
from graft_cli.dashboard.server import news
from graft_cli.decisions.rights import RIGHTS, Right
from graft_cli.errors import GraftError, Refused, Unreachable

TOKEN = "s3cret"
PAGE = f"/{TOKEN}/"


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost", "LOCALHOST:1", "[::1]:8123", "127.0.0.1"])
def test_the_person_s_browser_is_let_in_by_any_name_of_this_machine(host: str) -> None:
    assert refusal(TOKEN, PAGE, {"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "graft.example.com",
        "127.0.0.1.nip.io:8123",
        "localhost.evil.com",
        "evil@localhost.evil.com",
        "[::",
        "0.0.0.0",
    ],
)
def test_a_name_that_only_resolves_to_this_machine_is_refused(host: str) -> None:
    refused = refusal(TOKEN, PAGE, {"host": host})
    assert refused is not None
    assert refused.status == 421


@pytest.mark.parametrize("path", ["/", "//", "/s3cre/", "/s3crett/", "/S3CRET/", f"/x/{TOKEN}/", f"/{TOKEN}%2f", "/é/"])
def test_an_address_without_the_secret_gets_nothing(path: str) -> None:
    refused = refusal(TOKEN, path, {"host": "localhost"})
    assert refused is not None
    assert refused.status == 403


def test_other_pages_may_lead_here_and_no_more() -> None:
    other = {"host": "localhost", "sec-fetch-site": "cross-site"}
    assert refusal(TOKEN, PAGE, other | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}) is None
    for mode, dest in (("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe"), ("no-cors", "image")):
        assert refusal(TOKEN, PAGE, other | {"sec-fetch-mode": mode, "sec-fetch-dest": dest}) is not None
    assert (
        refusal(TOKEN, PAGE, {"host": "localhost", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}) is None
    )


def test_the_mood_is_the_gravest_that_is_to_be_known() -> None:
    moods = {adapter_row(make()).node.name: adapter_row(make()).mood for make in (readapting, blocked, pinned, unseen)}
    assert moods == {"topic": "busy", "speech": "bad", "pinned": "good", "new": "busy"}
    assert adapter_row(objects.adapter()).mood == "good"
    assert base_row(objects.base()).mood == "good"
    assert (adapter_row(pinned()).pinned, adapter_row(pinned()).suspended) == (3, True)


def test_a_base_that_adapters_name_and_that_is_not_there_has_a_row() -> None:
    rows = [adapter_row(orphan()), adapter_row(objects.adapter())]
    (missing,) = missing_bases([base_row(objects.base())], rows)
    assert (missing.key, missing.node.exists, missing.mood) == ("team-a/gone", False, "bad")


def test_only_what_has_changed_is_told() -> None:
    before = {"a": "1", "b": "2", "c": "3"}
    found = changes(before, {"a": "1", "b": "20", "d": "4"})
    assert (found.rows, found.removed) == (("20", "4"), ("c",))
    assert changes(before, dict(before)).rows == ()


def test_a_board_tells_news_and_keeps_what_it_knew_when_the_cluster_is_away() -> None:
    graft = Failing([{**objects.base().raw, "kind": "BaseModel"}, {**objects.adapter().raw, "kind": "LoraAdapter"}])
    board = Board(graft, "team-a")
    board.look()
    first = board.wait(0, 0)
    assert list(first.adapters) == ["team-a/support"]
    board.look()
    same = board.wait(first.number, 0)
    assert same.number == first.number, "nothing has changed"
    graft.problem = Unreachable("the API server does not answer", fix="see whether `kubectl cluster-info` works")
    board.look()
    away = board.wait(first.number, 0)
    told = json.loads(news(first, away))
    assert told["problem"]["message"] == "the API server does not answer"
    assert (told["adapters"], told["removed"]["adapters"], away.seen) == ([], [], same.seen)
    graft.problem = None
    graft.put({**objects.canary().raw, "kind": "LoraAdapter"})
    board.look()
    (row,) = json.loads(news(away, board.wait(away.number, 0)))["adapters"]
    assert (row["key"], row["node"]["canary"]["weight"]) == ("team-a/support", 10)


class Failing(FakeGraft):
    """A cluster that is away for a while."""

    problem: GraftError | None = None

    def _list(self, plural: str, namespace: str | None) -> list[dict[str, Any]]:
        if self.problem is not None:
            raise self.problem
        return super()._list(plural, namespace)


def test_losses_that_status_tells_become_a_curve_and_a_new_job_begins_another() -> None:
    curve = grown(None, objects.training(step=10, loss="2.5"))
    curve = grown(curve, objects.training(step=20, loss="1.5"))
    curve = grown(curve, objects.training(step=20, loss="1.4"))
    curve = grown(curve, objects.training(step=30, loss=None))
    curve = grown(curve, objects.training(step=40, loss="NaN"))
    assert curve.training == (Point(10, 2.5), Point(20, 1.4))
    assert grown(curve, objects.training(job="other", step=1, loss="3")).training == (Point(1, 3.0),)


def test_a_trainer_s_log_is_read_and_other_lines_are_passed_over() -> None:
    lines = [
        "2026-01-01 12:00:00,000 INFO graft_trainer.training.progress step 10/96: loss 2.1000, learning rate 2.00e-04",
        "Loading weights: 100%|██████████| 39/39",
        "2026-01-01 12:00:09,000 INFO graft_trainer.training.progress step 20/96: eval loss 1.9000",
        "step 20/96: loss nan, learning rate 0.00e+00, gradient norm nan",
        "a row says: step 999999999999/1: loss 1.0",
        "\x1b[31mstep 30/96: loss 1.5000\x1b[0m, learning rate",
    ]
    found = logged(lines, "job")
    assert found.training == (Point(10, 2.1), Point(30, 1.5))
    assert (found.evaluation, found.max_steps) == ((Point(20, 1.9),), 96)
    seen = grown(None, objects.training(job="job", step=30, loss="1.6"))
    assert merged(seen, found).training == (Point(10, 2.1), Point(30, 1.5))
    assert merged(grown(None, objects.training()), found) == found, "of another job"


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    points = with_points((), (Point(step, float(step)) for step in range(12_345)))
    assert len(points) <= POINTS_KEPT
    assert (points[0].step, points[-1].step) == (0, 12_344)


AGENT = {"schema": "graft.dev/agent/v1", "ready": True}
LOADS = "the engine loads the model, which takes minutes"


@pytest.mark.parametrize(
    "document",
    [
        None,
        "<html>",
        [1],
        {},
        {"schema": "graft.dev/agent/v2"},
        {"schema": 7},
    ],
)
def test_a_pod_that_is_no_agent_is_said_to_be_none(document: Any) -> None:
    found = holding("pod-1", "node-1", "Running", document)
    assert (found.ready, found.adapters, "something else" in found.problem) == (False, (), True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "Ready", "base": 7, "adapters": {"name": "support"}},
        {"adapters": [None, "support", {"name": 7}, {"name": ""}]},
        {"message": ["<b>"], "adapters": 9},
        {"engine": {"state": {"a": 1}}, "adapters": []},
        {"ready": "yes", "base": {"digest": None}},
    ],
)
def test_words_of_the_wrong_kind_are_left_out(wrong: Any) -> None:
    found = holding("pod-1", "node-1", "Running", AGENT | wrong)
    assert (found.problem, found.engine, found.base_digest, found.message, found.adapters) == ("", "", "", "", ())


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"state": "Starting"}, LOADS),
        ({"state": "Starting", "message": "the engine can't be reached at http://127.0.0.1:8001: refused"}, LOADS),
        ({"state": "Starting", "message": "Connection refused"}, LOADS),
        ({"state": "Starting", "message": "HTTP 500"}, f"{LOADS}; HTTP 500"),
        ({"state": "Starting", "message": ["HTTP 500"]}, LOADS),
        ({"state": "Down", "message": "Connection refused"}, "Connection refused"),
    ],
)
def test_an_engine_that_starts_is_told_with_what_it_says_itself(engine: dict[str, Any], message: str) -> None:
    assert holding("pod-1", "node-1", "Running", AGENT | {"engine": engine, "message": ""}).message == message


def test_a_pod_can_t_flood_the_page() -> None:
    one = {
        "name": "n" * 9999,
        "versions": [{"number": -1, "state": "x", "message": "m" * 99_999, "requests": True}] * 99,
    }
    found = holding("pod-1", "", "Running", AGENT | {"adapters": [one, *[{"name": "other"}] * (ADAPTERS_READ + 5)]})
    assert len(found.adapters) == ADAPTERS_READ
    (first, *_), count = found.adapters[0].versions, len(found.adapters[0].versions)
    assert (count, len(found.adapters[0].name), len(first.message)) == (16, 253, TEXT_LIMIT)
    assert (first.number, first.requests) == (0, 0)


def test_versions_are_shown_with_their_use_and_compared() -> None:
    adapter = objects.canary()
    page = adapter_page("team-a/support", adapter)
    assert [line.uses for line in page.versions[:3]] == [("canary 10%",), ("served",), ()]
    assert "baseModelRef" in page.spec
    rows = {row.field: row for row in version_diff(adapter, 5, 7).rows}
    assert (rows["loss"].before, rows["loss"].after, rows["loss"].change) == ("1.500", "1.300", "-0.2")
    with pytest.raises(Refused, match="tells nothing of version 99"):
        version_diff(adapter, 5, 99)


def test_nothing_is_needed_but_to_read() -> None:
    assert {right.verb for right in RIGHTS["dashboard"]} == {"get", "list", "watch"}
    assert Right("get", "secrets", "") not in RIGHTS["dashboard"]
