"""Answers that hold what a tokenizer doesn't know are counted, whether it has a token for that or leaves it out."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.trainer.byte_tokenizer import byte_tokenizer

from graft_registry.digests import digest_of
from graft_trainer.data.conversation import Conversation, Labelled, Message, Pair, Text
from graft_trainer.data.dataset import Dataset
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import RenderedRows
from graft_trainer.data.unknown import Unknown, UnknownTally
from graft_trainer.preferences.rendering import render_preferences
from graft_trainer.publishing.version import dataset_record
from graft_trainer.row_files.kept import PreparedRows
from graft_trainer.row_files.rendering import render_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<unk>", "<|im_start|>", "<|im_end|>"]
LETTERS = [*SPECIAL, *string.ascii_letters, *string.digits, " ", ".", ",", "\n"]
QUESTION = Message("user", "漢?")


def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """Make a tokenizer of single letters, all of ASCII but few of its marks."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    numbers = {letter: number for number, letter in enumerate(LETTERS)}
    if kind == "bytes":
        return byte_tokenizer(CHAT, end="<|im_end|>")
    if kind == "some bytes":
        letters = [{" ": "Ġ", "\n": "Ċ"}.get(letter, letter) for letter in LETTERS]
        made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
    elif kind == "Unigram":
        made = Tokenizer(models.Unigram([(letter, -1.0) for letter in LETTERS], unk_id=0))
    elif kind == "WordPiece":
        within = {f"##{letter}": len(LETTERS) + number for letter, number in numbers.items()}
        made = Tokenizer(models.WordPiece(numbers | within, unk_token="<unk>", max_input_chars_per_word=1000))
    elif kind == "WordLevel":
        made = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    else:
        made = Tokenizer(models.BPE(numbers, [], unk_token=None if kind == "BPE without" else "<unk>"))
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    names: dict[str, Any] = {} if kind in ("BPE without", "some bytes") else {"unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", **names)
    fast.chat_template = CHAT
    return fast


def answered(*answers: str) -> Conversation:
    turns = [turn for answer in answers for turn in (QUESTION, Message("assistant", answer))]
    return Conversation(tuple(turns), place="x.jsonl line 1")


def rendered(examples: list[Conversation | Text], kind: str, max_length: int = 500) -> RenderedRows:
    return render_rows(examples, Renderer(tokenizer(kind)), max_length=max_length, max_dropped_percent=5)


@pytest.mark.parametrize("kind", ["BPE", "BPE without", "some bytes", "Unigram", "WordPiece", "WordLevel"])
def test_answers_with_something_unknown_are_counted(kind: str) -> None:
    """What a prompt holds is not counted: nothing is learned of it."""
    rows = rendered([answered("fine", "Zürich, 漢 and ü"), answered("ok")], kind)
    named = () if kind == "WordLevel" else ("ü", "漢")
    assert rows.unknown == UnknownTally(answers=3, unknown=1, characters=named)
    assert "1 of 3 answers (33.3 %) hold what the tokenizer does not know" in str(rows)


def test_a_tokenizer_of_bytes_knows_everything() -> None:
    rows = rendered([answered("Zürich 漢 \U00012000 \ue000 <|im_end|>")], "bytes")
    assert rows.unknown == UnknownTally(answers=1)
    assert str(rows) == "1 rows rendered, 0 of them truncated"


@pytest.mark.parametrize("kind", ["BPE", "BPE without"])
def test_a_text_is_one_answer(kind: str) -> None:
    rows = rendered([Text("fine"), Text("naïve")], kind)
    assert rows.unknown == UnknownTally(answers=2, unknown=1, characters=("ï",))


def test_what_is_cut_off_is_not_counted() -> None:
    rows = rendered([*[answered("ok")] * 9, answered(f"{'a' * 40}ü")], "BPE", max_length=60)
    assert (rows.truncated, rows.unknown) == (1, UnknownTally(answers=10))


@pytest.mark.parametrize("kind", ["BPE", "BPE without"])
def test_the_text_of_special_tokens_and_invisible_characters_are_not_unknown(kind: str) -> None:
    assert rendered([answered("a\u200bb\u00a0c\x07")], "BPE without").unknown == UnknownTally(answers=1)
    assert rendered([answered("ok")], kind).unknown == UnknownTally(answers=1)


def test_both_answers_of_a_preference_are_looked_at() -> None:
    better, worse = answered("fine"), answered("ü")
    pair = Pair(better.messages, place="x", rejected=worse.messages)
    renderer = Renderer(tokenizer("BPE"))
    rows = render_preferences([pair], renderer, max_length=500, max_dropped_percent=5)
    assert rows.unknown == UnknownTally(answers=2, unknown=1, characters=("ü",))
    labelled = Labelled(worse.messages, place="x", wanted=False)
    rows = render_preferences([labelled], renderer, max_length=500, max_dropped_percent=5)
    assert rows.unknown == UnknownTally(answers=1, unknown=1, characters=("ü",))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("BPE", "it is learned as <unk>, which servers don't show; use a base that knows it, or"),
        ("BPE without", "it is left out; use a base that knows it, or write the rows without"),
    ],
)
def test_the_doubt_says_what_becomes_of_it_and_what_to_do(kind: str, says: str) -> None:
    unknown = Unknown(tokenizer(kind))
    assert unknown.doubt(UnknownTally(answers=8)) == ""
    doubt = unknown.doubt(UnknownTally(answers=8, unknown=2, characters=("ü",)))
    assert doubt.startswith("2 of 8 answers (25 %) hold what the tokenizer does not know, such as ü: ")
    assert says in doubt


def test_an_end_token_that_is_called_unknown_is_none() -> None:
    """GPT-2's tokenizer calls its end token so."""
    from transformers import PreTrainedTokenizerFast

    given = tokenizer("BPE")
    same = PreTrainedTokenizerFast(tokenizer_object=given.backend_tokenizer, eos_token="<unk>", unk_token="<unk>")
    assert Unknown(same).token is None


def test_few_characters_are_named() -> None:
    tally = UnknownTally(1, 1, tuple("abcdefgh")) + UnknownTally(1, 1, tuple("ghijklm"))
    assert tally == UnknownTally(2, 2, tuple("abcdefghij"))


def test_the_manifest_counts_both_parts() -> None:
    digest = digest_of("rows")
    dataset = Dataset(uri="s3://data/x.jsonl", digest=digest, evaluation_digest=digest, training=(), evaluation=())
    training = rendered([answered("fine", "Zürich"), answered("ok")], "BPE")
    record = dataset_record(PreparedRows(dataset=dataset, training=training, evaluation=rendered([Text("ü")], "BPE")))
    assert (record.answers, record.unknown_answers) == (4, 2)
    assert '"answers":4,"unknownAnswers":2' in record.model_dump_json(by_alias=True)
