"""Whom a chat asks, with what, and what an answer is worth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.cli.objects import adapter, canary, serving

from graft_cli.cluster.workloads import Pod, one_of_each_first
from graft_cli.decisions.conversation import (
    Answer,
    Conversation,
    Reply,
    Sampling,
    answer_of,
    is_elsewhere,
    of_adapter,
    of_base,
    of_version,
    request_of,
)
from graft_cli.errors import Refused
from graft_cli.rendering.answers import blocks, side_by_side
from graft_cli.rendering.console import as_text


def models(*chosen: str, of: Any = None) -> list[str]:
    return [who.model for who in of_adapter(of or adapter(), chosen)]


def test_base_and_what_answers_now_are_asked_unless_others_are_chosen() -> None:
    assert models() == ["tiny", "support@v6"]
    assert models(of=canary()) == ["tiny", "support@v6", "support@v7"]
    assert models("v3", "base", "4", "3") == ["support@v3", "tiny", "support@v4"]


@pytest.mark.parametrize("text", ["", "v", "v0", "v06", "six", "v1.0", "-1", "v1\n", "\u0663", "BASE", "v123456789"])
def test_what_is_no_version_is_told_so(text: str) -> None:
    with pytest.raises(ValueError, match="neither a version, such as v7, nor 'base'"):
        of_adapter(adapter(), [text])


def test_nothing_that_serves_is_said_with_what_can_be_asked() -> None:
    idle = adapter(status={"served_version": None, "serving": serving(None)})
    with pytest.raises(Refused, match="serves no version yet") as caught:
        of_adapter(idle, [])
    assert "--versions base" in caught.value.fix
    assert models("base", of=idle) == ["tiny"]


def test_a_request_holds_what_was_said_before_to_that_one() -> None:
    said = Conversation()
    said.keep("one", Answer(title="v6", model="support@v6", text="1"))
    said.keep("lost", Answer(title="v6", model="support@v6", problem="no answer"))
    path, body = request_of(of_version("support", 6), "two", said, Sampling(system="short", max_tokens=5))
    found = json.loads(body)
    assert (path, found["model"], found["max_tokens"]) == ("/v1/chat/completions", "support@v6", 5)
    assert [message["content"] for message in found["messages"]] == ["short", "one", "1", "two"]
    path, body = request_of(of_base("tiny"), "two", said, Sampling(raw=True))
    assert (path, json.loads(body)["prompt"]) == ("/v1/completions", "two")


def reply(body: Any, status: int = 200, version: str = "support@v6") -> Reply:
    return Reply(status=status, version=version, body=json.dumps(body).encode(), seconds=0.5)


WHO = of_version("support", 6)


def test_an_answer_is_who_said_it_and_what() -> None:
    body = {"choices": [{"message": {"content": "yes"}, "finish_reason": "length"}], "usage": {"completion_tokens": 1}}
    found = answer_of(WHO, reply(body))
    assert (found.text, found.version, found.tokens, found.problem) == ("yes", "support@v6", 1, "")
    text = as_text(*blocks([found]))
    assert text == "[v6]  support@v6, 1 tokens, 0.5 s, cut off at --max-tokens\nyes\n\n"


@pytest.mark.parametrize("version", ["support@v7", "tiny@base", "none", "", "support@v66"])
def test_nobody_else_s_answer_is_shown(version: str) -> None:
    found = answer_of(WHO, reply({"choices": [{"text": "yes"}]}, version=version))
    assert (found.text, "not support@v6" in found.problem) == ("", True)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{}]},
        "text",
        1,
    ],
)
def test_what_is_no_answer_of_the_api_is_told_so(body: Any) -> None:
    assert "none of the OpenAI API" in answer_of(WHO, reply(body)).problem


def test_a_model_that_says_nothing_has_answered() -> None:
    body = {"choices": [{"message": {"content": None}}], "usage": {"completion_tokens": "many"}}
    found = answer_of(WHO, reply(body))
    assert (found.text, found.tokens, found.problem) == ("", None, "")


def test_another_pod_may_have_what_this_one_has_not() -> None:
    assert is_elsewhere(reply({}, 404, "none"))
    assert is_elsewhere(reply({}, 503, ""))
    assert not is_elsewhere(reply({}, 503, "support@v6"))
    assert not is_elsewhere(reply({}, 401, "none"))


def test_columns_need_room() -> None:
    asked = (of_base("tiny"), WHO)
    said = [Answer(title="base", model="tiny", text="no"), None]
    assert "base" in as_text(side_by_side(asked, said, 80), width=80).splitlines()[0]
    assert as_text(side_by_side(asked, said, 30)).startswith("[base]")


def pod(name: str, template: str, *, ready: bool = True) -> Pod:
    return Pod("team-a", name, "Running", ("agent",), ready, template)


def test_pods_of_every_revision_come_first() -> None:
    found = [pod("a1", "a"), pod("a2", "a"), pod("b0", "b", ready=False), pod("a3", "a"), pod("b1", "b")]
    assert [item.name for item in one_of_each_first(found)] == ["a1", "b1", "a2", "a3"]
