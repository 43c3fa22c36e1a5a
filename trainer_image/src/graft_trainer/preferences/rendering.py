"""Turns preferences into token ids, with the base's own chat template as any other row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graft_trainer.data.answers import Piece
from graft_trainer.data.conversation import Conversation, Example, Labelled, Pair, Preference
from graft_trainer.data.dropped_rows import DropReason, DropTally, UnusableRowError
from graft_trainer.data.rendering import Renderer, check_limits, rendered_batches
from graft_trainer.data.rows import PreferenceRow, RenderedRows, Row, Sample, segments, spread


def render_preferences(
    examples: Sequence[Example],
    renderer: Renderer,
    *,
    max_length: int,
    max_dropped_percent: int,
    between_batches: Callable[[int], None] = lambda done: None,
) -> RenderedRows:
    """Render every preference, leaving out those of which an answer can't be judged.

    ``between_batches`` is told how many examples are done, and may raise to stop.
    Raises BadDatasetError where too many are left out or truncated, or the base has no chat template.
    """
    usable = _Usable(max_length)
    preferences = [example for example in examples if isinstance(example, Preference)]

    def pieces_of(example: Preference) -> list[Piece]:
        return [_piece(answered, renderer) for answered in answers_of(example)]

    for batch in rendered_batches(preferences, renderer, pieces_of, usable.dropped, max_length):
        for example, _, rows in batch:
            usable.add(example, rows)
        between_batches(len(usable.rows) + usable.dropped.total)
    check_limits(usable.dropped, usable.rows, max_length, max_dropped_percent)
    return usable.rendered(renderer)


def answers_of(example: Preference) -> list[Conversation]:
    """Return the conversations that are rendered of a preference: of a pair the chosen and the rejected one."""
    if isinstance(example, Pair):
        return [example, Conversation(example.rejected, example.tools, example.place)]
    return [example]


def mismatched(row: Row, other: Row, max_length: int) -> Row:
    """Return the prompt of one row with the answer of another, cut to ``max_length`` tokens.

    KTO measures by such rows how far the adapter has moved from the reference (arXiv:2402.01306, §4.1).
    """
    prompt, begin = row.answers[0][0], other.answers[0][0]
    tokens = row.tokens[:prompt] + other.tokens[begin:]
    moved = ((start - begin + prompt, min(end - begin + prompt, max_length)) for start, end in other.answers)
    return Row(tokens[:max_length], tuple((start, end) for start, end in moved if start < end))


@dataclass(slots=True)
class _Usable:
    """What has been rendered so far: the answers of each example."""

    max_length: int
    examples: list[Preference] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    others: list[Row] = field(default_factory=list)
    dropped: DropTally = field(default_factory=DropTally)

    def add(self, example: Preference, rows: Sequence[Row]) -> None:
        """Take the rows of an example whose answers differ within the limit."""
        if any(row.fully_masked for row in rows):
            self._drop(example, f"no token of an answer is among the first {self.max_length} tokens")
        elif len(rows) == 2 and rows[0].tokens == rows[1].tokens:
            self._drop(example, f"chosen and rejected begin with the same {self.max_length} tokens")
        else:
            truncated = any(row.truncated for row in rows)
            self.rows.append(Row(rows[0].tokens, rows[0].answers, truncated))
            self.others.append(rows[-1])
            self.examples.append(example)

    def rendered(self, renderer: Renderer) -> RenderedRows:
        """Return all rows, each with what it is compared with."""
        rows = tuple(
            PreferenceRow(
                row.tokens, row.answers, row.truncated, other=self._other(position), wanted=_is_wanted(example)
            )
            for position, (example, row) in enumerate(zip(self.examples, self.rows, strict=True))
        )
        return RenderedRows(
            rows=rows,
            examples=tuple(self.examples),
            truncated=sum(row.truncated for row in rows),
            dropped=self.dropped,
            samples=_samples(self.examples, rows, renderer),
        )

    def _other(self, position: int) -> Row:
        """Return the rejected answer, or the prompt of a labelled one with the answer of the row after it."""
        if isinstance(self.examples[position], Pair):
            return self.others[position]
        return mismatched(self.rows[position], self.rows[(position + 1) % len(self.rows)], self.max_length)

    def _drop(self, example: Preference, message: str) -> None:
        self.dropped.add(example.place, UnusableRowError(DropReason.FULLY_MASKED, message))


def _piece(answered: Conversation, renderer: Renderer) -> Piece:
    """Return the one text that holds a prompt and its answer."""
    pieces = renderer.pieces(answered)
    if len(pieces) != 1:
        raise UnusableRowError(
            DropReason.REFUSED_BY_TEMPLATE,
            "the base's chat template writes an answer of several turns differently once others follow, so it can't be "
            "judged as one; end the prompt before the assistant's last turn",
        )
    return pieces[0]


def _is_wanted(example: Preference) -> bool:
    return not isinstance(example, Labelled) or example.wanted


def _samples(examples: Sequence[Preference], rows: Sequence[PreferenceRow], renderer: Renderer) -> tuple[Sample, ...]:
    """Show a few rows from all over the dataset: both answers of a pair, or one with its label."""
    samples: list[Sample] = []
    for example, row in spread(examples, rows):
        if isinstance(example, Pair):
            named: dict[str, Row] = {"chosen": row, "rejected": row.other}
        else:
            named = {"wanted" if row.wanted else "not wanted": row}
        samples += [
            Sample(f"{example.place}, {name}", segments(answer, renderer.tokenizer)) for name, answer in named.items()
        ]
    return tuple(samples)
