"""`status -w` while the API server goes and comes back, on terminals that can move the cursor and on others."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import pytest
from tests.unit.cli import objects
from tests.unit.cli.terminal.test_words_of_others import Screen

from graft_cli.client import Adapter, FakeGraft
from graft_cli.commands import status
from graft_cli.errors import NotFound, Unreachable


class Flickering(FakeGraft):
    """Answers as often as it is told to; for None it is away. Then somebody presses Ctrl-C."""

    def __init__(self, *served: int | None) -> None:
        super().__init__([{"kind": "BaseModel", **objects.base().raw}])
        self._served = iter(served)

    def adapters(self, namespace: str | None = None) -> list[Adapter]:
        try:
            served = next(self._served)
        except StopIteration:
            raise KeyboardInterrupt from None
        if served is None:
            raise Unreachable("can't list: the API server does not answer")
        found = objects.adapter()
        return [replace(found, status=found.status.model_copy(update={"served_version": served}))]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "LOOK_SECONDS", 0)


def watched(graft: FakeGraft, out: io.StringIO) -> str:
    said = io.StringIO()
    with redirect_stdout(out), redirect_stderr(said), pytest.raises(KeyboardInterrupt):
        status.watch_tree(graft, "team-a", ())
    return said.getvalue()


def test_who_is_away_is_told_once_and_seen_again() -> None:
    out = io.StringIO()
    said = watched(Flickering(6, None, None, 6, None, 5), out)
    assert said == "not up to date: can't list: the API server does not answer\n" * 2
    assert out.getvalue().count("--- ") == 2
    assert "support  v5" in out.getvalue()


@pytest.mark.parametrize("terminal", ["dumb", "unknown"])
def test_a_dumb_terminal_is_told_line_by_line(terminal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", terminal)
    screen = Screen()
    watched(Flickering(6, 5), screen)
    assert screen.getvalue().count("--- ") == 2
    assert "\x1b" not in screen.getvalue()


def test_a_terminal_shows_the_last_state_and_why_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    watched(Flickering(6, None), screen)
    last = screen.getvalue().rpartition("base ")[2]
    assert "support" in last
    assert "not up to date: can't list" in last


def test_who_was_never_seen_is_an_error() -> None:
    with pytest.raises(Unreachable):
        status.watch_tree(Flickering(None), "team-a", ())
    with pytest.raises(NotFound):
        status.watch_tree(Flickering(6), "team-a", ("nobody",))
