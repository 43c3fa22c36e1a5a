"""The columns of sets that people train on, with words of our own: each is read as it is meant, or says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.trainer.data.public_sets import MENDED, READ, REFUSED, TEXTS, A, Q
from tests.unit.trainer.data.public_sets_table import on_page, read_set, table

from graft_trainer.data.conversation import Conversation, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.columns import with_columns
from graft_trainer.data.formats import detect_format, to_example


@pytest.mark.parametrize(("record", "roles"), READ.values(), ids=READ)
def test_a_set_of_conversations_is_read_as_it_is_meant(record: dict[str, Any], roles: list[str]) -> None:
    example = to_example(record, detect_format(record))
    assert isinstance(example, Conversation)
    assert [message.role for message in example.messages] == roles
    last_question = [message for message in example.messages if message.role == "user"][-1].content
    assert last_question.startswith(Q)
    extra = next((record[key] for key in ("input", "context") if record.get(key)), "")
    assert last_question.endswith(extra)
    assert example.messages[-1].content.startswith(A)
    assert example.messages[-1].is_to_learn


@pytest.mark.parametrize("record", TEXTS.values(), ids=TEXTS)
def test_a_set_of_texts_is_read_as_texts(record: dict[str, Any]) -> None:
    assert to_example(record, detect_format(record)) == Text(record["text"])


@pytest.mark.parametrize(("record", "reason", "message"), REFUSED.values(), ids=REFUSED)
def test_a_set_that_cannot_be_learned_as_it_is_says_what_to_do(
    record: dict[str, Any], reason: DropReason, message: str
) -> None:
    with pytest.raises(UnusableRowError, match=message) as raised:
        to_example(record, detect_format(record))
    assert raised.value.reason is reason


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        ({"id": "1", "dialogue": "A: hello", "summary": "s"}, {"prompt": "dialogue", "completion": "summary"}),
        ({"article": "a", "highlights": "h", "id": "1"}, {"prompt": "article", "completion": "highlights"}),
    ],
)
def test_columns_make_a_set_of_something_else_one_of_conversations(
    record: dict[str, Any], columns: dict[str, str]
) -> None:
    mapped = with_columns(record, columns)
    example = to_example(mapped, detect_format(mapped))
    assert isinstance(example, Conversation)
    assert [message.content for message in example.messages] == [record[name] for name in columns.values()]


@pytest.mark.parametrize("name", [*READ, *TEXTS])
def test_the_file_of_a_set_is_read_row_by_row(name: str, tmp_path: Path) -> None:
    """As Parquet the rows have the types, and the empty fields, that Arrow gives to all of them."""
    found = read_set(name, tmp_path)
    assert found.read_as, found.refusal
    assert len(found.examples) == 3


@pytest.mark.parametrize("name", REFUSED)
def test_the_file_of_a_set_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    found = read_set(name, tmp_path)
    assert "3 of 3 rows cannot be used" in found.refusal
    assert bool(found.read_as) == (name in MENDED)
    assert len(found.examples) == (3 if name in MENDED else 0)


def test_the_page_lists_what_is_read(tmp_path: Path) -> None:
    """``python -m tests.unit.trainer.data.public_sets_table`` writes it."""
    assert on_page() == table(tmp_path)


def test_there_are_forty_sets() -> None:
    assert len({**READ, **TEXTS, **REFUSED}) >= 40
