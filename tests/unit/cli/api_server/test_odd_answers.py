"""What API servers, and what stands before them, answer besides what was asked for: it is said, and is never a bug."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli import objects
from tests.unit.cli.api_server.scripted import Answer, Script, api_server, listed, refused, settled

from graft_cli.client import connect

ODD = {
    "a page that wants a login": Answer(200, "<html>log in</html>", "text/html"),
    "a page of a gateway": Answer(502, "<html>bad gateway</html>", "text/html"),
    "null": Answer(200, None),
    "a list": Answer(200, []),
    "half an object": Answer(200, '{"metadata": {'),
    "nothing": Answer(200, ""),
    "an object without a name": Answer(200, {"metadata": {}, "items": None}),
    "a failure": refused(500),
    "it is gone": refused(410),
    "too much to do": Answer(429, "slow down", "text/plain", {"Retry-After": "0"}),
    "a redirection": Answer(307, "", "text/plain", {"Location": "/elsewhere"}),
}
VERBS = (["status"], ["history", "support"], ["pin", "support", "3"], ["logs", "support"], ["doctor"])


@pytest.mark.parametrize("answer", ODD.values(), ids=list(ODD))
def test_no_answer_is_taken_for_a_bug(answer: Answer, tmp_path: Path) -> None:
    with api_server(lambda *_: answer, tmp_path) as server:
        for verb in VERBS:
            code, out, err = server.graft(*verb)
            assert "bug" not in out + err, (verb, err)
            assert "<html>" not in out + err
            assert code in (0, 1, 3, 5), (verb, err)
            assert code or verb == ["status"], "a list of nothing is one"


def test_who_has_too_much_to_do_is_asked_again(tmp_path: Path) -> None:
    answers = [Answer(429, "later", "text/plain", {"Retry-After": "0"})] * 2

    def script(*request: Any) -> Answer:
        return answers.pop() if answers else settled(*request)

    with api_server(script, tmp_path) as server:
        code, out, _ = server.graft("status")
    assert code == 0
    assert "support  v6" in out


def test_a_list_whose_state_was_forgotten_on_the_way_is_asked_for_as_a_whole(tmp_path: Path) -> None:
    both = [objects.adapter(name).raw for name in ("one", "two")]

    def script(_: str, path: str, __: Any) -> Answer:
        if "continue=" in path:
            return refused(410, "the provided continue parameter is too old")
        return listed(both[0], **{"continue": "next"}) if "limit=" in path else listed(*both)

    with api_server(script, tmp_path) as server:
        found = connect(kubeconfig=str(server.kubeconfig)).adapters("team-a")
    assert [adapter.metadata.name for adapter in found] == ["one", "two"]


def holding(body: Any) -> Script:
    """Answer with one adapter, whatever is asked for."""
    return lambda _, path, __: listed(body) if "?" in path else Answer(200, body)


def test_objects_of_other_releases_can_be_read(tmp_path: Path) -> None:
    whole = objects.adapter().raw
    odd: list[dict[str, Any]] = [
        {**whole, "status": None},
        {**whole, "status": [1]},
        {**whole, "status": {"conditions": "none", "versions": None}},
        {**whole, "spec": None},
        {**whole, "spec": {"baseModelRef": "tiny", "serving": [], "version": "six"}},
        {**whole, "metadata": {**whole["metadata"], "labels": None, "annotations": None, "finalizers": None}},
        {**whole, "status": {**whole["status"], "versions": [{"number": "six"}]}},
    ]
    for body in odd:
        with api_server(holding(body), tmp_path) as it:
            for verb in (["status"], ["status", "-o", "json"], ["history", "support"]):
                _, out, err = it.graft(*verb)
                assert "bug" not in out + err, (body, verb, err)


def test_a_status_that_can_t_be_read_is_no_empty_one(tmp_path: Path) -> None:
    whole = objects.adapter().raw
    newer = {**whole, "status": {**whole["status"], "versions": [{"number": "six"}]}}
    verbs = (["history"], ["rollback"], ["promote"], ["abort"], ["retrain"], ["diff", "v1", "v2"], ["logs"], ["verify"])
    with api_server(lambda *_: Answer(200, newer), tmp_path) as server:
        for verb, *rest in verbs:
            code, _, err = server.graft(verb, "support", *rest)
            assert code == 1
            assert "take a newer kubectl-graft" in err, verb
        assert {method for method, _, _ in server.seen} == {"GET"}


def test_a_time_without_a_zone_is_one_of_utc(tmp_path: Path) -> None:
    whole = objects.adapter().raw
    versions = [{**version, "publishedTime": "2026-01-01T10:00:00"} for version in whole["status"]["versions"]]
    body = {**whole, "status": {**whole["status"], "versions": versions}}
    with api_server(lambda *_: Answer(200, body), tmp_path) as server:
        code, out, _ = server.graft("history", "support")
    assert code == 0
    assert " ago" in out
