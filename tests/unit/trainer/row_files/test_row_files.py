"""Rows on disk are what they were in memory, however many processes render them, in memory that does not grow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.trainer.byte_tokenizer import byte_tokenizer

from graft_trainer.data.conversation import Conversation, Example, Labelled, Message, Pair, Text
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import RenderedRows, Row
from graft_trainer.outcome import BadDatasetError, BaseMismatchError, PreemptedError
from graft_trainer.preferences.rendering import render_preferences
from graft_trainer.row_files import examples as stored_examples
from graft_trainer.row_files import processes as rendering_processes
from graft_trainer.row_files.examples import StoredExamples, store_examples
from graft_trainer.row_files.processes import BATCH, cut
from graft_trainer.row_files.rendering import render_rows
from graft_trainer.row_files.tokens import RenderedRow, RowBlock, RowWriter, StoredRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MANY = BATCH * 7 + 7

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
turns = st.lists(
    st.builds(
        Message, st.sampled_from(["user", "assistant", "tool"]), words, words, words, words, words, st.booleans()
    ),
    min_size=1,
    max_size=4,
).map(tuple)
examples = st.one_of(
    st.builds(Text, words, words),
    st.builds(Conversation, turns, words, words),
    st.builds(Pair, turns, words, words, rejected=turns),
    st.builds(Labelled, turns, words, words, wanted=st.booleans()),
)
spans = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=4).map(tuple)
rendered_rows = st.builds(
    RenderedRow,
    st.builds(
        Row, st.lists(st.integers(0, 2**31 - 1), max_size=30).map(lambda ids: array("i", ids)), spans, st.booleans()
    ),
    st.integers(0, 2**40),
    st.integers(0, 1000),
    st.booleans(),
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer(CHAT, end="<|end|>")


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let several processes be worth it for few rows."""
    monkeypatch.setattr(rendering_processes, "WORTH_IT", 1)
    monkeypatch.setattr(rendering_processes, "MEANWHILE", 1)


def conversation(number: int) -> Conversation:
    turns = (Message("user", f"what is {number}?"), Message("assistant", f"{number} is {number * number}."))
    return Conversation(turns, place=f"x.jsonl line {number}")


def block_of(rows: Iterable[RenderedRow]) -> RowBlock:
    block = RowBlock()
    for row in rows:
        block.add(row)
    return block


@settings(deadline=None)
@given(st.lists(examples, max_size=8))
def test_examples_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[Example]
) -> None:
    stored = store_examples(written, tmp_path_factory.mktemp("examples"))
    assert list(stored) == written
    assert [type(example) for example in stored] == [type(example) for example in written]
    assert [example.place for example in stored] == [example.place for example in written]
    assert list(stored[1:3]) == written[1:3]


@settings(deadline=None)
@given(st.lists(st.tuples(examples, words), max_size=8))
def test_examples_are_the_same_but_for_their_places(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[Example, str]]
) -> None:
    stored = store_examples((example for example, _ in written), tmp_path_factory.mktemp("examples"))
    identities = list(stored.identities())
    for one, identity in zip(stored, identities, strict=True):
        for other, other_identity in zip(stored, identities, strict=True):
            assert (one == other) == (identity == other_identity)


def test_examples_have_the_sizes_that_they_have_in_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_examples, "SIZES_AT_ONCE", 3)
    stored = store_examples([Text("a" * length, "here") for length in (5, 0, 70, 3, 3, 900, 12, 1)], tmp_path)
    sizes = stored.sizes()
    assert (sizes - sizes[1]).tolist() == [5, 0, 70, 3, 3, 900, 12, 1]
    assert sizes.sum() == (tmp_path / stored_examples.EXAMPLES_FILE).stat().st_size
    some = np.array([7, 2, 0, 5, 1, 6])
    assert StoredExamples(tmp_path, some).sizes().tolist() == sizes[some].tolist()
    assert StoredExamples(tmp_path, some[:0]).sizes().tolist() == []


@settings(deadline=None)
@given(st.lists(st.lists(rendered_rows, max_size=4), max_size=4))
def test_rows_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[RenderedRow]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    with RowWriter(folder) as writer:
        for rows in blocks:
            writer.add(block_of(rows))
    written = [row for rows in blocks for row in rows]
    assert writer.count == len(written)
    stored = StoredRows(folder)
    assert [stored.rendered(number) for number in range(len(stored))] == written
    assert list(stored) == stored[:] == [row.row for row in written]
    assert stored.lengths().tolist() == [len(row.row) for row in written]
    assert stored.is_whole()


@pytest.mark.parametrize("name", ["tokens", "spans", "rows"])
def test_files_that_do_not_go_together_are_found_out(tmp_path: Path, name: str) -> None:
    with RowWriter(tmp_path) as writer:
        writer.add(block_of(RenderedRow(Row(array("i", [1, 2, 3]), ((1, 3),)), number, 2) for number in range(3)))
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size - 2)
    assert not StoredRows(tmp_path).is_whole()


def test_rows_outlive_their_files(tmp_path: Path) -> None:
    with RowWriter(tmp_path) as writer:
        writer.add(block_of([RenderedRow(Row(array("i", [1, 2]), ((1, 2),)), 0, 2)]))
    stored = StoredRows(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    assert stored[0].input_ids == [1, 2]


def rendered(stored: StoredExamples, tokenizer: PreTrainedTokenizerFast, processes: int) -> RenderedRows:
    return render_rows(stored, Renderer(tokenizer), max_length=64, max_dropped_percent=5, processes=processes)


@pytest.mark.usefixtures("worth_it")
def test_several_processes_render_what_one_does(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    some = [conversation(number) for number in range(MANY)]
    too_long = Conversation((Message("user", "?" * 100), Message("assistant", "!")), place="x.jsonl line 3000")
    stored = store_examples([*some[:3000], too_long, *some[3001:]], tmp_path)
    alone, together = (rendered(stored, tokenizer, processes) for processes in (1, 2))
    assert list(together.rows) == list(alone.rows)
    assert list(together.examples) == list(alone.examples) == [*some[:3000], *some[3001:]]
    assert (together.dropped, together.samples) == (alone.dropped, alone.samples)
    assert str(together.dropped) == "1 FullyMasked (x.jsonl line 3000)"


@pytest.mark.usefixtures("worth_it")
def test_several_processes_render_the_pairs_that_one_does(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    pairs = []
    for number in range(MANY):
        better = conversation(number)
        worse = (better.messages[0], Message("assistant", "who knows"))
        pairs.append(Pair(better.messages, place=better.place, rejected=worse))
    stored = store_examples(pairs, tmp_path)
    alone, together = (
        render_preferences(stored, Renderer(tokenizer), max_length=64, max_dropped_percent=5, processes=processes)
        for processes in (1, 2)
    )
    assert len(together.rows) == MANY
    assert list(together.rows) == list(alone.rows)
    assert together.examples[-1] == pairs[-1]


@pytest.mark.usefixtures("worth_it")
def test_the_first_error_is_the_same_with_several_processes(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Of two rows that would end the run the earlier one does, whichever process is faster."""
    some: list[Example] = [conversation(number) for number in range(MANY)]
    some[2000], some[2900] = Text("\u00e9"), Text("\u00ff")
    stored = store_examples(some, tmp_path)
    # The bytes of these two letters, which nothing else in the rows has, have the highest numbers.
    vocabulary = min(tokenizer("\u00e9")["input_ids"][1], tokenizer("\u00ff")["input_ids"][1])
    messages = []
    for processes in (1, 2):
        renderer = Renderer(tokenizer, vocabulary=vocabulary)
        with pytest.raises(BaseMismatchError) as raised:
            render_rows(stored, renderer, max_length=64, max_dropped_percent=5, processes=processes)
        messages.append((str(raised.value), raised.value.field))
    assert messages[0] == messages[1]


@pytest.mark.usefixtures("worth_it")
def test_an_error_of_another_process_is_raised_here(tmp_path: Path) -> None:
    plain = byte_tokenizer(None, end="<|end|>")
    stored = store_examples([*[Text("a text")] * (MANY - 1), conversation(1)], tmp_path)
    with pytest.raises(BadDatasetError, match="the base has no chat template") as raised:
        render_rows(stored, Renderer(plain), max_length=64, max_dropped_percent=5, processes=2)
    assert raised.value.field == "spec.dataset.format"


@pytest.mark.usefixtures("worth_it")
def test_rendering_stops_promptly_and_its_processes_with_it(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    stored = store_examples([conversation(number) for number in range(MANY)], tmp_path)
    asked_at = 0.0

    def stop(done: int) -> None:
        nonlocal asked_at
        if done > BATCH:
            asked_at = time.monotonic()
            raise PreemptedError("asked to stop")

    with pytest.raises(PreemptedError):
        render_rows(
            stored, Renderer(tokenizer), max_length=64, max_dropped_percent=5, processes=2, between_batches=stop
        )
    assert time.monotonic() - asked_at < 60
    assert not [command_of(pid) for pid in children() if "spawn_main" in command_of(pid)]


@given(st.lists(st.integers(0, 3 << 19), max_size=1200))
def test_batches_are_all_examples_and_none_is_too_large(sizes: list[int]) -> None:
    bounds = cut(np.array(sizes, dtype=np.int64))
    assert [number for start, end in bounds for number in range(start, end)] == [*range(len(sizes))]
    for start, end in bounds:
        assert end - start <= BATCH
        assert end - start == 1 or sum(sizes[start:end]) <= rendering_processes.BATCH_BYTES


@pytest.mark.usefixtures("worth_it")
def test_rows_are_rendered_although_a_process_dies(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    stored = store_examples([conversation(number) for number in range(MANY)], tmp_path)

    def kill(done: int) -> None:
        for pid in children():
            if "spawn_main" in command_of(pid):
                os.kill(pid, signal.SIGKILL)

    rows = render_rows(
        stored, Renderer(tokenizer), max_length=64, max_dropped_percent=5, processes=2, between_batches=kill
    ).rows
    assert list(rows) == list(rendered(stored, tokenizer, 1).rows)


def children() -> list[int]:
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(pid) for pid in found.split()]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


MEASURED = """
import json, pathlib, resource, sys
sys.path[:] = {path!r}
from tests.unit.trainer.byte_tokenizer import byte_tokenizer
from graft_registry.config import RegistryConfig
from graft_trainer.dataset_config import DatasetConfig
from graft_trainer.data.dataset import load_dataset
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.files.sources import DataFetcher
from graft_trainer.row_files.rendering import render_rows
from graft_trainer.training.packing import pack
folder = pathlib.Path({folder!r})
tokenizer = byte_tokenizer({chat!r}, end="<|end|>")
def prepare(name):
    source = {{"file": {{"path": str(folder / name), "uri": name}}}}
    config = DatasetConfig.model_validate({{"source": source, "evaluation": {{"splitPercent": 5}}}})
    dataset = load_dataset(config, DataFetcher(RegistryConfig(bucket="none"), folder), seed=1)
    rows = render_rows(dataset.training, Renderer(tokenizer), max_length=4096, max_dropped_percent=0).rows
    groups = pack(rows, max_length=4096)
    return sum(len(row) for group in groups for row in group)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare("few.jsonl")
prepare("few.jsonl")
before = peak()
tokens = prepare("many.jsonl")
print(json.dumps([tokens, peak() - before]))
"""


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Five times the rows, whose tokens alone are more than 30 MiB, take but a few bytes of each."""
    answer = "word " * 600
    for name, rows in (("few.jsonl", 600), ("many.jsonl", 3_000)):
        with (tmp_path / name).open("w", encoding="utf-8") as file:
            for number in range(rows):
                file.write(json.dumps({"prompt": f"question {number}", "completion": f"{number} {answer}"}) + "\n")
    program = MEASURED.format(path=sys.path, folder=str(tmp_path), chat=CHAT)
    # Threads that wait have memory of their own, which has nothing to do with rows.
    alone = os.environ | {"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=alone)
    tokens, kibibytes = json.loads(finished.stdout.splitlines()[-1])
    assert tokens * 4 > 30 << 20
    assert kibibytes < 10 << 10
