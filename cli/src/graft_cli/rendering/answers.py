"""Answers to one prompt: side by side on a terminal, one below the other where somebody reads lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from graft_cli.decisions.conversation import Answer, Respondent
from graft_cli.rendering.texts import printable

NARROWEST = 24
"""Fewest characters of a column that can still be read."""


def side_by_side(asked: Sequence[Respondent], answers: Sequence[Answer | None], width: int) -> RenderableType:
    """Return a column for each of those who were asked, or blocks where there is no room; None has not answered yet."""
    if width // max(1, len(asked)) < NARROWEST:
        return Text("\n").join(_as_text(block) for block in blocks([answer for answer in answers if answer]))
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for who in asked:
        made.add_column(who.title, ratio=1, overflow="fold")
    made.add_row(*(body_of(answer) if answer else Text("…", style="dim") for answer in answers))
    made.add_row(*(Text(facts_of(answer) if answer else "", style="dim") for answer in answers))
    return made


def blocks(answers: Sequence[Answer]) -> Iterator[RenderableType]:
    """Return the answers one after the other, each below the name of whoever gave it."""
    for answer in answers:
        yield Text.assemble((f"[{answer.title}]", "bold"), "  ", (facts_of(answer), "dim"))
        yield body_of(answer)
        yield Text()


def body_of(answer: Answer) -> Text:
    """Return what was said, or why nothing was and what to do."""
    if not answer.problem:
        return Text(printable(answer.text).strip("\n"))
    said = Text.assemble(("error: ", "bold red"), printable(answer.problem))
    return said.append(f"\n  to fix: {answer.fix}") if answer.fix else said


def facts_of(answer: Answer) -> str:
    """Return who has answered, and how."""
    tokens = f"{answer.tokens} tokens" if answer.tokens is not None else ""
    cut = "cut off at --max-tokens" if answer.finish_reason == "length" else ""
    seconds = f"{answer.seconds:.1f} s" if answer.seconds else ""
    return ", ".join(filter(None, (printable(answer.version) or "nobody", tokens, seconds, cut)))


def _as_text(block: RenderableType) -> Text:
    return block if isinstance(block, Text) else Text(str(block))
