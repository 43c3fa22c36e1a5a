"""Turns preferences into token ids, with the base's own chat template as any other row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

from graft_trainer.data.answers import Piece
from graft_trainer.data.conversation import Conversation, Example, Labelled, Pair, Preference
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import PreferenceRow, RenderedRows, Row, Sample, segments, spread
from graft_trainer.outcome import BadDatasetError
from graft_trainer.row_files.rendering import RenderedBatch, check_limits, collect, rendered, rows_folder
from graft_trainer.row_files.tokens import RenderedExamples, RenderedRow, StoredRows


def render_preferences(
    examples: Sequence[Example],
    renderer: Renderer,
    *,
    max_length: int,
    max_dropped_percent: int,
    folder: Path | None = None,
    processes: int = 1,
    between_batches: Callable[[int], None] = lambda done: None,
) -> RenderedRows:
    """Render every preference, leaving out those of which an answer can't be judged.

    Everything else is as with `render_rows`.
    Raises BadDatasetError where too many are left out or truncated, or the base has no chat template.
    """
    paired = bool(examples) and isinstance(examples[0], Pair)
    with rows_folder(folder) as place:
        collected = collect(
            render_preference_batch,
            examples,
            renderer,
            place,
            max_length=max_length,
            processes=processes,
            between_batches=between_batches,
        )
        rows = StoredPreferences(collected.rows, paired=paired, max_length=max_length)
        check_limits(collected, len(rows), max_length, max_dropped_percent)
        used = RenderedExamples(collected.rows, examples, rows_of_each=rows.rows_of_each)
        samples = _samples(used, rows, renderer)
    return RenderedRows(
        rows=rows,
        examples=used,
        truncated=collected.truncated,
        dropped=collected.dropped,
        samples=samples,
        unknown=collected.unknown,
    )


def render_preference_batch(
    examples: Sequence[Example], first: int, renderer: Renderer, max_length: int
) -> RenderedBatch:
    """Render some preferences: those whose answers differ within the limit."""
    batch = RenderedBatch(len(examples))
    preferences = [example for example in examples if isinstance(example, Preference)]

    def pieces_of(example: Preference) -> list[Piece]:
        return [_piece(answered, renderer) for answered in answers_of(example)]

    for number, example, pieces, rows in rendered(preferences, first, renderer, pieces_of, batch, max_length):
        if any(row.fully_masked for row in rows):
            batch.drop(example, f"no token of an answer is among the first {max_length} tokens")
        elif len(rows) == 2 and rows[0].tokens == rows[1].tokens:
            batch.drop(example, f"chosen and rejected begin with the same {max_length} tokens")
        else:
            truncated = any(row.truncated for row in rows)
            rows[0] = Row(rows[0].tokens, rows[0].answers, truncated)
            wanted = not isinstance(example, Labelled) or example.wanted
            for row, piece in zip(rows, pieces, strict=True):
                batch.rows.add(RenderedRow(row, number, len(example.messages), wanted))
                batch.unknown += renderer.unknown.tally(row, piece.text, piece.spans)
            batch.truncated += truncated
    return batch


def check_both_labels(held_out: Sequence[PreferenceRow]) -> None:
    """Refuse labelled rows to be judged by that are all of one kind: nothing could be told apart, and no gate passed.

    Raises BadDatasetError.
    """
    first = next((row.wanted for row in held_out), None)
    if first is None or any(row.wanted != first for row in held_out):
        return
    kind, other = ("wanted", "unwanted") if first else ("unwanted", "wanted")
    raise BadDatasetError(
        f"the {len(held_out)} held-out rows are all {kind}, so evaluation.minPreferenceAccuracy could not be measured "
        f"after the training; give {other} answers, too, raise spec.dataset.evaluationPercent, or name rows of both "
        "kinds in spec.dataset.evaluation",
        field="spec.dataset.evaluation",
    )


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


class StoredPreferences(Sequence[PreferenceRow]):
    """The rows of preferences, each with what it is compared with: two rows of each pair, one of each labelled answer.

    A labelled answer's other row is its prompt with the answer of the next.
    """

    def __init__(self, rows: StoredRows, *, paired: bool, max_length: int) -> None:
        self._rows = rows
        self._paired = paired
        self._max_length = max_length

    @property
    def rows_of_each(self) -> int:
        """How many rows are stored of each preference."""
        return 2 if self._paired else 1

    def __len__(self) -> int:
        """Return the number of preferences."""
        return len(self._rows) // self.rows_of_each

    @overload
    def __getitem__(self, index: int) -> PreferenceRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[PreferenceRow]: ...

    def __getitem__(self, index: int | slice) -> PreferenceRow | list[PreferenceRow]:
        """Read one preference, or some of them."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        stored = self._rows.rendered(number * self.rows_of_each)
        row = stored.row
        if self._paired:
            other = self._rows[number * 2 + 1]
        else:
            other = mismatched(row, self._rows[(number + 1) % len(self)], self._max_length)
        return PreferenceRow(row.tokens, row.answers, row.truncated, other=other, wanted=stored.wanted)


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


def _samples(examples: Sequence[Example], rows: Sequence[PreferenceRow], renderer: Renderer) -> tuple[Sample, ...]:
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
