"""Rendered rows on disk: their tokens, the spans that are learned, and which example each was rendered from."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Final, Self, overload

import numpy as np
from numpy.typing import NDArray

from graft_trainer.data.conversation import Conversation, Example
from graft_trainer.data.rows import Row
from graft_trainer.row_files.flat_file import FlatFile

TOKENS_FILE: Final = "tokens"
SPANS_FILE: Final = "spans"
ROWS_FILE: Final = "rows"
ROW_FILES: Final = (TOKENS_FILE, SPANS_FILE, ROWS_FILE)

NUMBER_BYTES: Final = 4
"""Of a token, and of either end of a span."""

TRUNCATED, WANTED = 1, 2
"""Marks of a row."""

ENTRY: Final = Struct("<qqqiiii")
ENTRY_TYPE: Final = np.dtype(
    [
        *(("token", "<i8"), ("span", "<i8"), ("example", "<i8")),
        *(("tokens", "<i4"), ("spans", "<i4"), ("turns", "<i4"), ("marks", "<i4")),
    ]
)
"""What the file of rows has for each: where its tokens and spans begin and how many there are; its example and how many
of that one's turns; and its marks."""

ENTRIES_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """One row, the number of the example that it was rendered from, and up to which of its turns."""

    row: Row
    example: int
    turns: int
    wanted: bool = True
    """Whether its answer is one to give, where a preference was rendered."""


def _integers() -> array[int]:
    return array("i")


@dataclass(slots=True)
class RowBlock:
    """Some rows as files have them: what a process that renders hands on, so that whoever writes has little to do."""

    tokens: array[int] = field(default_factory=_integers)
    spans: array[int] = field(default_factory=_integers)
    entries: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.entries) // ENTRY.size

    def add(self, rendered: RenderedRow) -> None:
        """Take one more row."""
        row = rendered.row
        marks = TRUNCATED * row.truncated + WANTED * rendered.wanted
        places = (len(self.tokens), len(self.spans) // 2)
        sizes = (len(row.tokens), len(row.answers))
        self.entries += ENTRY.pack(*places, rendered.example, *sizes, rendered.turns, marks)
        self.tokens += row.tokens
        for span in row.answers:
            self.spans.extend(span)


class RowWriter:
    """Writes rows into a folder, block by block."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.count = 0
        self._token = self._span = 0
        self._tokens, self._spans, self._rows = ((folder / name).open("wb") for name in ROW_FILES)

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Complete the files."""
        for file in (self._tokens, self._spans, self._rows):
            file.close()

    def add(self, block: RowBlock) -> None:
        """Write some more rows."""
        entries = np.frombuffer(bytes(block.entries), dtype=ENTRY_TYPE).copy()
        entries["token"] += self._token
        entries["span"] += self._span
        self._rows.write(entries.tobytes())
        self._tokens.write(block.tokens)
        self._spans.write(block.spans)
        self._token += len(block.tokens)
        self._span += len(block.spans) // 2
        self.count += len(block)


class StoredRows(Sequence[Row]):
    """The rows of a folder that is complete, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._tokens, self._spans, self._rows = (FlatFile(folder / name) for name in ROW_FILES)
        self._count = self._rows.size // ENTRY.size

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """Read one row, or some of them."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self.rendered(index).row

    def rendered(self, index: int) -> RenderedRow:
        """Read one row with where it comes from."""
        number = range(self._count)[index]
        entry = self._rows.read(number * ENTRY.size, (number + 1) * ENTRY.size)
        token, span, example, tokens, spans, turns, marks = ENTRY.unpack(entry)
        ids, edges = array("i"), array("i")
        ids.frombytes(self._tokens.read(token * NUMBER_BYTES, (token + tokens) * NUMBER_BYTES))
        edges.frombytes(self._spans.read(2 * span * NUMBER_BYTES, 2 * (span + spans) * NUMBER_BYTES))
        answers = tuple(zip(edges[::2], edges[1::2], strict=True))
        return RenderedRow(Row(ids, answers, bool(marks & TRUNCATED)), example, turns, bool(marks & WANTED))

    def is_whole(self) -> bool:
        """Whether the files go together: every row has its tokens and spans."""
        if self._rows.size % ENTRY.size:
            return False
        counted = (("token", "tokens", self._tokens.size), ("span", "spans", self._spans.size // 2))
        return all(
            bool(np.all((entries[begin] >= 0) & (entries[count] >= 0)))
            and int((entries[begin] + entries[count]).max(initial=0)) * NUMBER_BYTES <= size
            for entries in self._entries()
            for begin, count, size in counted
        )

    def lengths(self) -> NDArray[np.int64]:
        """Return how many tokens each row has."""
        lengths = np.empty(self._count, dtype=np.int64)
        begin = 0
        for entries in self._entries():
            lengths[begin : begin + len(entries)] = entries["tokens"]
            begin += len(entries)
        return lengths

    def _entries(self) -> Iterator[NDArray[np.void]]:
        """Yield what the file of rows has, block by block."""
        block = ENTRIES_AT_ONCE * ENTRY.size
        for start in range(0, self._count * ENTRY.size, block):
            end = min(start + block, self._count * ENTRY.size)
            yield np.frombuffer(self._rows.read(start, end), dtype=ENTRY_TYPE)


class RenderedExamples(Sequence[Example]):
    """For each row the example that it was rendered from, up to the turn that the row ends with."""

    def __init__(self, rows: StoredRows, examples: Sequence[Example], *, rows_of_each: int = 1) -> None:
        self._rows = rows
        self._examples = examples
        self._each = rows_of_each

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows) // self._each

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """Read one example, or some of them."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        rendered = self._rows.rendered(range(len(self))[index] * self._each)
        return _until(self._examples[rendered.example], rendered.turns)


def _until(example: Example, turns: int) -> Example:
    """Return an example up to one of its turns."""
    if not isinstance(example, Conversation) or turns == len(example.messages):
        return example
    return Conversation(example.messages[:turns], example.tools, example.place)
