"""Renders all examples of a run into a folder, batch by batch, and counts what can't be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from graft_trainer.data.answers import Piece
from graft_trainer.data.conversation import Conversation, Example
from graft_trainer.data.dropped_rows import DropReason, DropTally, UnusableRowError, check_limit
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import AnyExample, RenderedRows, Row, samples_of
from graft_trainer.data.unknown import UnknownTally
from graft_trainer.outcome import BadDatasetError
from graft_trainer.row_files.processes import RenderBatch, rendered_in_order
from graft_trainer.row_files.tokens import RenderedExamples, RenderedRow, RowBlock, RowWriter, StoredRows

MAX_TRUNCATED_SHARE = 0.25
"""More rows than this cut short means that the model would learn not to finish its answers."""


@dataclass(slots=True)
class RenderedBatch:
    """What was made of some examples: rows that something is learned from, and what can't be used."""

    examples: int
    """How many there were."""
    rows: RowBlock = field(default_factory=RowBlock)
    dropped: DropTally = field(default_factory=DropTally)
    truncated: int = 0
    """Used examples, or parts of them that are rows of their own, that lost their end."""
    masked: int = 0
    """Answers of used examples that are not learned."""
    unknown: UnknownTally = field(default_factory=UnknownTally)
    """Answers that are learned, and what the tokenizer doesn't know of them."""

    def drop(self, example: Example, message: str) -> None:
        """Leave out an example of which no answer is within the limit."""
        self.dropped.add(example.place, UnusableRowError(DropReason.FULLY_MASKED, message))


def render_batch(examples: Sequence[Example], first: int, renderer: Renderer, max_length: int) -> RenderedBatch:
    """Render some examples: the rows of each that something is learned from."""
    batch = RenderedBatch(len(examples))

    def pieces_of(example: Example) -> list[Piece]:
        return renderer.pieces(example, max_length)

    for number, example, pieces, rows in rendered(examples, first, renderer, pieces_of, batch, max_length):
        used = [(piece, row) for piece, row in zip(pieces, rows, strict=True) if not row.fully_masked]
        if not used:
            batch.drop(example, f"no token of an answer is among the first {max_length} tokens")
            continue
        for piece, row in used:
            batch.rows.add(RenderedRow(row, number, piece.turns))
            batch.unknown += renderer.unknown.tally(row, piece.text, piece.spans)
        batch.truncated += sum(row.truncated for _, row in used)
        if isinstance(example, Conversation) and not renderer.learns_prompts:
            batch.masked += sum(message.role == "assistant" for message in example.messages)
            batch.masked -= sum(len(row.answers) for _, row in used)
    return batch


def rendered(
    examples: Sequence[AnyExample],
    first: int,
    renderer: Renderer,
    pieces_of: Callable[[AnyExample], list[Piece]],
    batch: RenderedBatch,
    max_length: int,
) -> Iterator[tuple[int, AnyExample, list[Piece], list[Row]]]:
    """Yield the number of each example, itself, its pieces and their rows; what can't be rendered is dropped."""
    known: list[tuple[int, AnyExample]] = []
    pieces: list[list[Piece]] = []
    for number, example in enumerate(examples, start=first):
        try:
            pieces.append(pieces_of(example))
        except UnusableRowError as error:
            batch.dropped.add(example.place, error)
        else:
            known.append((number, example))
    rows = renderer.rows([example for _, example in known], pieces, max_length)
    for (number, example), of_example, made in zip(known, pieces, rows, strict=True):
        yield number, example, of_example, made


def render_rows(
    examples: Sequence[Example],
    renderer: Renderer,
    *,
    max_length: int,
    max_dropped_percent: int,
    folder: Path | None = None,
    processes: int = 1,
    between_batches: Callable[[int], None] = lambda done: None,
) -> RenderedRows:
    """Render every example, leaving out those that cannot be learned from.

    The rows are written into ``folder``, or where no process but this one has to find them. ``between_batches`` is told
    how many examples are done, also while nothing new is, and may raise to stop.
    Raises BadDatasetError where too many are left out or truncated, or the base has no chat template.
    """
    with rows_folder(folder) as place:
        collected = collect(
            render_batch,
            examples,
            renderer,
            place,
            max_length=max_length,
            processes=processes,
            between_batches=between_batches,
        )
        check_limits(collected, len(collected.rows), max_length, max_dropped_percent)
        used = RenderedExamples(collected.rows, examples)
        samples = samples_of(used, collected.rows, renderer.tokenizer)
    return RenderedRows(
        rows=collected.rows,
        examples=used,
        truncated=collected.truncated,
        dropped=collected.dropped,
        samples=samples,
        masked_answers=collected.masked,
        unknown=collected.unknown,
    )


@contextmanager
def rows_folder(folder: Path | None) -> Iterator[Path]:
    """Lend a folder to write rows into: the given one, or one that is gone at once but for those who read it."""
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="rows-") as temporary:
        yield Path(temporary)


@dataclass(frozen=True, slots=True)
class Collected:
    """The rows of all examples in a folder, and what was left out."""

    rows: StoredRows
    truncated: int
    dropped: DropTally
    masked: int
    unknown: UnknownTally


def collect(
    render: RenderBatch[RenderedBatch],
    examples: Sequence[Example],
    renderer: Renderer,
    folder: Path,
    *,
    max_length: int,
    processes: int,
    between_batches: Callable[[int], None],
) -> Collected:
    """Render all examples into a folder, in their order, with as many processes as are worth it."""
    dropped, unknown = DropTally(), UnknownTally()
    masked = truncated = done = 0
    with RowWriter(folder) as writer:
        batches = rendered_in_order(
            render, examples, renderer, max_length, processes=processes, idle=lambda: between_batches(done)
        )
        # Whoever stops in between wants no process to go on.
        with closing(batches):
            for batch in batches:
                writer.add(batch.rows)
                dropped += batch.dropped
                unknown += batch.unknown
                truncated, masked = truncated + batch.truncated, masked + batch.masked
                done += batch.examples
                between_batches(done)
    return Collected(StoredRows(folder), truncated, dropped, masked, unknown)


def check_limits(collected: Collected, used: int, max_length: int, max_dropped_percent: int) -> None:
    """Raise BadDatasetError where too many examples are left out or, of the ``used`` rows, cut short."""
    dropped = collected.dropped
    masked = dropped.counts[DropReason.FULLY_MASKED]
    total = used + dropped.total
    if masked * 2 >= dropped.total:
        fault, fix = "spec.training.maxSequenceLength", "Raise spec.training.maxSequenceLength or shorten the prompts"
    else:
        fault, fix = "spec.dataset", "Change the rows to turns that the base's chat template knows"
    check_limit(dropped, total, max_percent=max_dropped_percent, field=fault, fix=fix)
    truncated = collected.truncated
    if truncated > MAX_TRUNCATED_SHARE * total:
        raise BadDatasetError(
            f"{truncated} of {total} rows are longer than {max_length} tokens and would lose the end of "
            "their answers; raise spec.training.maxSequenceLength or shorten the rows",
            field="spec.training.maxSequenceLength",
        )
