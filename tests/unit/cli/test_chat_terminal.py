"""chat on a terminal: one prompt after the other, each with what was said before to that one."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from graft_cli.cluster.inference import InferenceClient
from graft_cli.commands.chat import Chat, interactive
from graft_cli.decisions.conversation import Reply, Sampling, of_base, of_version
from graft_cli.errors import Forbidden, Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Somewhere(InferenceClient):
    """Answers with the number of messages; version 6 can't be reached at first."""

    seen: list[dict[str, object]] = field(default_factory=list)
    problems: list[Exception] = field(default_factory=list)

    def ask(self, path: str, body: bytes) -> Reply:
        asked = json.loads(body)
        self.seen.append(asked)
        if asked["model"] == "support@v6" and self.problems:
            raise self.problems.pop()
        version = "tiny@base" if asked["model"] == "tiny" else asked["model"]
        choice = {"message": {"content": f"{version} of {len(asked['messages'])}"}}
        return Reply(status=200, version=version, body=json.dumps({"choices": [choice]}).encode())


def chat(*problems: Exception) -> Chat:
    where = Somewhere(problems=list(problems))
    return Chat(where, (of_base("tiny"), of_version("support", 6)), Sampling())


@pytest.fixture
def _two_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: Iterator[str] = iter(["one", "", "two"])

    def read(_: str) -> str:
        try:
            return next(prompts)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(builtins, "input", read)


@pytest.mark.usefixtures("_two_prompts")
def test_who_failed_has_heard_nothing_and_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert interactive(chat(Unreachable("away", fix="wait"))) == []
    shown = capsys.readouterr().out
    assert "tiny@base of 1" in shown
    assert "error: away" in shown
    assert "to fix: wait" in shown
    assert "tiny@base of 3" in shown, "the base remembers the first turn"
    assert "support@v6 of 1" in shown, "version 6 has none to remember"


def test_what_is_forbidden_ends_it_for_all() -> None:
    with pytest.raises(Forbidden):
        chat(Forbidden("no")).turn("one")
