"""Examples on disk: what rows were read as, until they are rendered, and to be asked as questions after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Any, Final, Self, overload

import numpy as np
from numpy.typing import NDArray

from graft_trainer.data.conversation import Conversation, Example, Labelled, Message, Pair, Text
from graft_trainer.row_files.flat_file import FlatFile

EXAMPLES_FILE: Final = "examples"
ENDS_FILE: Final = "examples.ends"
"""Where each example ends in the file of examples."""
IDENTITIES_FILE: Final = "examples.identities"
"""A hash of each example, without its place."""

END: Final = Struct("<q")
IDENTITY_BYTES: Final = 16
IDENTITIES_AT_ONCE: Final = 4096
SIZES_AT_ONCE: Final = 1 << 16

Numbers = NDArray[np.int64]
"""Which examples of a file, in which order."""


class ExampleWriter:
    """Writes examples into a folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.count = 0
        self._end = 0
        self._examples, self._ends, self._identities = (
            (folder / name).open("wb") for name in (EXAMPLES_FILE, ENDS_FILE, IDENTITIES_FILE)
        )

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Complete the files."""
        for file in (self._examples, self._ends, self._identities):
            file.close()

    def add(self, example: Example) -> None:
        """Write one more example."""
        content, place = _encoded(_fields(example)), _encoded(example.place)
        self._examples.write(content + b"\n" + place)
        self._end += len(content) + 1 + len(place)
        self._ends.write(END.pack(self._end))
        self._identities.write(blake2b(content, digest_size=IDENTITY_BYTES).digest())
        self.count += 1


class StoredExamples(Sequence[Example]):
    """Examples of a folder that is complete, all of them or those of some ``numbers``, read when they are asked for."""

    def __init__(self, folder: Path, numbers: Numbers | None = None) -> None:
        self.folder = folder
        self._examples = FlatFile(folder / EXAMPLES_FILE)
        self._ends = FlatFile(folder / ENDS_FILE)
        count = self._ends.size // END.size
        self.numbers: Numbers = np.arange(count, dtype=np.int64) if numbers is None else numbers

    def __reduce__(self) -> tuple[type[StoredExamples], tuple[Path, Numbers]]:
        """Tell another process of this program where the same examples are."""
        return StoredExamples, (self.folder, self.numbers)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> StoredExamples: ...

    def __getitem__(self, index: int | slice) -> Example | StoredExamples:
        """Read one example, or choose some of them."""
        if isinstance(index, slice):
            return StoredExamples(self.folder, self.numbers[index])
        number = int(self.numbers[index])
        if number:
            ends = self._ends.read((number - 1) * END.size, (number + 1) * END.size)
            start, end = (int(value) for (value,) in END.iter_unpack(ends))
        else:
            start, end = 0, int(END.unpack(self._ends.read(0, END.size))[0])
        content, _, place = self._examples.read(start, end).rpartition(b"\n")
        return _example(_decoded(content), _decoded(place))

    def sizes(self) -> NDArray[np.int64]:
        """Return how many bytes each example has here."""
        sizes = np.empty(len(self), dtype=np.int64)
        for start in range(0, len(self), SIZES_AT_ONCE):
            numbers = self.numbers[start : start + SIZES_AT_ONCE]
            first = max(int(numbers.min()) - 1, 0)
            ends = np.frombuffer(self._ends.read(first * END.size, (int(numbers.max()) + 1) * END.size), dtype="<i8")
            before = np.where(numbers > 0, ends[numbers - 1 - first], 0)
            sizes[start : start + len(numbers)] = ends[numbers - first] - before
        return sizes

    def identities(self) -> Iterator[bytes]:
        """Yield a hash of each example; those that are equal but for their places have the same."""
        stored = FlatFile(self.folder / IDENTITIES_FILE)
        for start in range(0, len(self), IDENTITIES_AT_ONCE):
            for number in self.numbers[start : start + IDENTITIES_AT_ONCE].tolist():
                yield stored.read(number * IDENTITY_BYTES, (number + 1) * IDENTITY_BYTES)

    def without(self, others: StoredExamples) -> StoredExamples:
        """Leave out those that are among others, too."""
        if not len(self):
            return self
        own = list(self.identities())
        wanted = set(own)
        known = {identity for identity in others.identities() if identity in wanted}
        kept = np.fromiter((identity not in known for identity in own), dtype=np.bool_, count=len(own))
        return StoredExamples(self.folder, self.numbers[kept])


def store_examples(examples: Iterable[Example], folder: Path) -> StoredExamples:
    """Write examples into a folder of their own."""
    with ExampleWriter(folder) as writer:
        for example in examples:
            writer.add(example)
    return StoredExamples(folder)


_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _encoded(value: Any) -> bytes:
    return _JSON.encode(value).encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogatepass"))


def _fields(example: Example) -> list[Any]:
    """Return all of an example but its place."""
    if isinstance(example, Text):
        return ["Text", example.text]
    turns = [_turn(message) for message in example.messages]
    if isinstance(example, Pair):
        return ["Pair", turns, example.tools, [_turn(message) for message in example.rejected]]
    if isinstance(example, Labelled):
        return ["Labelled", turns, example.tools, example.wanted]
    return ["Conversation", turns, example.tools]


def _example(fields: list[Any], place: str) -> Example:
    kind, *rest = fields
    if kind == "Text":
        return Text(rest[0], place)
    turns, tools = tuple(Message(*turn) for turn in rest[0]), rest[1]
    if kind == "Pair":
        return Pair(turns, tools, place, rejected=tuple(Message(*turn) for turn in rest[2]))
    if kind == "Labelled":
        return Labelled(turns, tools, place, wanted=rest[2])
    return Conversation(turns, tools, place)


def _turn(message: Message) -> list[Any]:
    return [
        message.role,
        message.content,
        message.tool_calls,
        message.name,
        message.tool_call_id,
        message.reasoning,
        message.learned,
    ]
