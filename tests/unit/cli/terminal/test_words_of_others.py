"""Words of tenants, pods, models and files on a terminal: they colour and move nothing, and pass for nothing else."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.cells import cell_len
from tests.unit.cli import objects
from tests.unit.cli.objects import condition, with_conditions

from graft_cli.__main__ import main
from graft_cli.client import Adapter
from graft_cli.commands.doctor import check_line
from graft_cli.decisions.conversation import Answer, of_version
from graft_cli.decisions.diagnosis import Check
from graft_cli.decisions.tree import status_tree
from graft_cli.errors import GraftError
from graft_cli.rendering.answers import side_by_side
from graft_cli.rendering.console import as_text, complain, pass_on, say, show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.tables import history_table
from graft_cli.rendering.texts import is_unseen
from graft_cli.rendering.tree import status_view

HOSTILE = {
    "colours": "\x1b[31mred\x1b[0m",
    "the title of the window": "\x1b]0;pwned\x07",
    "a link": "\x1b]8;;https://evil.example.com\x1b\\docs\x1b]8;;\x1b\\",
    "8-bit controls": "\x9b2J\x9d0;x\x9c",
    "the line again": "well\rerror: run this",
    "backspaces": "no\x08\x08yes",
    "another direction": "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "nothing to be seen": "a\u200bb\u2060c\ufeffd\U000e0041",
    "other ends of lines": "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "half a character": "\ud800 \udfff",
    "nothing at all": "\x00",
    "delete": "\x7f",
}
WIDE = ("日本語のアダプター", "e\u0301\u0302 combining", "👩\u200d👩\u200d👧 family", "ﷺ", "x" * 3000)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LIMITS = (20, 80, 400)


class Screen(io.StringIO):
    """A terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def adapter(text: str) -> Adapter:
    stalled = with_conditions(condition("Stalled", "True", text, text))
    versions = (objects.version(6, text, message=text, reason=text), objects.version(5))
    return objects.adapter(
        status={"conditions": stalled, "versions": versions, "training": objects.training(reason=text, job=text)}
    )


@pytest.fixture(params=HOSTILE.values(), ids=list(HOSTILE))
def hostile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def own_sequences_only(shown: str) -> bool:
    """Whether a terminal acts upon nothing but the colours of rich, and what a live view moves."""
    left = shown
    for letter in "mKAJhl":
        left = "".join(part if not number else _after(part, letter) for number, part in enumerate(left.split("\x1b[")))
    return not is_unseen(left.replace("\r", ""))


def _after(part: str, letter: str) -> str:
    digits, found, rest = part.partition(letter)
    return rest if found and set(digits) <= set("0123456789;?") else f"\x1b[{part}"


@pytest.mark.parametrize("width", LIMITS)
def test_status_and_history_are_plain(hostile: str, width: int) -> None:
    found = adapter(hostile)
    shown = as_text(status_view(status_tree([objects.base()], [found]), NOW), history_table(found, NOW), width=width)
    assert not is_unseen(shown)
    assert "support" in shown.replace("\n", "") or width < 80


def test_messages_and_errors_are_plain(hostile: str) -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        say(hostile)
        complain(GraftError(hostile, fix=hostile))
    assert not is_unseen(stream.getvalue())


def test_a_terminal_gets_colours_of_ours_alone(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    with redirect_stdout(screen):
        show(
            status_view(status_tree([objects.base()], [adapter(hostile)]), NOW),
            check_line(Check("x", "failed", hostile)),
        )
        show(side_by_side([of_version("support", 6)], [Answer(title="v6", model="m", text=hostile, fix=hostile)], 80))
        pass_on(hostile)
    assert own_sequences_only(screen.getvalue())
    assert "\x1b[" in screen.getvalue(), "it is a terminal"


def test_programs_get_every_word_as_it_is(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"message": hostile, hostile: [hostile]}
    forms: tuple[tuple[Format, Callable[[str], Any]], ...] = (("json", json.loads), ("yaml", yaml.safe_load))
    for form, read in forms:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", stream)
        print_document(found, form)
        stream.flush()
        text = stream.buffer.getvalue().decode()
        assert not is_unseen(text), form
        assert read(text) == found


@pytest.mark.parametrize("text", WIDE)
def test_columns_stand_below_one_another(text: str) -> None:
    shown = as_text(history_table(adapter(text[:60]), NOW)).splitlines()
    assert len({cell_len(line[: line.index("sha")]) for line in shown if "sha" in line} or {0}) == 1


def test_columns_are_as_wide_as_what_stands_for_what_is_not_shown() -> None:
    head, first, second = as_text(history_table(adapter("\x1b\x07\x1b"), NOW)).splitlines()
    place = head.index("BASE")
    base = objects.version(6).base_digest.removeprefix("sha256:")[:8]
    assert first[place:].startswith(base)
    assert second[place:].startswith(base)


def test_no_error_has_a_line_that_looks_like_ours() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        complain(GraftError("no\nerror: nothing is wrong\n  to fix: curl evil | sh", fix="wait"))
    first, *rest = stream.getvalue().splitlines()
    assert first == "error: no"
    assert [line for line in rest if not line.startswith("    ")] == ["  to fix: wait"]


def test_a_log_keeps_its_bytes_where_no_terminal_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    pass_on("\x1b[32mINFO\x1b[0m 50%\r100%")
    assert capsys.readouterr().out == "\x1b[32mINFO\x1b[0m 50%\r100%\n"
    screen = Screen()
    with redirect_stdout(screen):
        pass_on("\x1b[32mINFO\x1b[0m ready\r")
    assert screen.getvalue() == "INFO ready\n", "without its colours"


def test_a_file_can_t_write_lines_of_lint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text('apiVersion: graft.dev/v1\nkind: "X\\n::error file=b::gone\\e[2J"\nmetadata: {name: "a\\nb"}\n')
    assert main(["lint", str(file)]) == 1
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    assert not is_unseen(out)
