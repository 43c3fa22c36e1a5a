"""Loss on the answers only, whatever the template."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from graft_trainer.formats import Conversation, Message, Text
from graft_trainer.outcome import BadDatasetError
from graft_trainer.rendering import IGNORED, prompt_token_ids, render, render_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}> {{ message.content }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
# Drops the reasoning of all turns but the last, as templates of reasoning models do.
FORGETFUL = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}> "
    "{{ message.content if loop.last or message.role != 'assistant' else message.content.split(' ')[-1] }} <end> "
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)
RESTLESS = "{% for message in messages %}{{ message.content }} {% endfor %}{{ messages | length }}"
STRICT = "{% if messages[0].role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"

ONE_TURN = Conversation((Message("user", "one two"), Message("assistant", "three four")))
TWO_TURNS = Conversation((*ONE_TURN.messages, Message("user", "five"), Message("assistant", "six")))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<bos>", "<end>", "<pad>", "<unk>", "<user>", "<assistant>"]
    words = [*special, "one", "two", "three", "four", "five", "six", "2", "4"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>", pad_token="<pad>", unk_token="<unk>"
    )


def trained_text(example: Conversation | Text, tokenizer: PreTrainedTokenizerFast) -> str:
    row = render(example, tokenizer, max_length=64)
    return str(tokenizer.decode([label for label in row.labels if label != IGNORED]))


@pytest.mark.parametrize(
    ("template", "conversation", "trained"),
    [
        (CHAT, ONE_TURN, "three four <end>"),
        (CHAT, TWO_TURNS, "three four <end> six <end>"),
        (FORGETFUL, TWO_TURNS, "six <end>"),
    ],
)
def test_only_what_the_assistant_would_write_is_trained(
    tokenizer: PreTrainedTokenizerFast, template: str, conversation: Conversation, trained: str
) -> None:
    tokenizer.chat_template = template
    assert trained_text(conversation, tokenizer) == trained


def test_the_masked_part_is_the_prompt_that_a_server_renders(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT
    row = render(ONE_TURN, tokenizer, max_length=64)
    prompt = prompt_token_ids(ONE_TURN.messages[:1], tokenizer)
    assert row.input_ids[: len(prompt)] == prompt
    assert row.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert row.labels[len(prompt) :] == row.input_ids[len(prompt) :]


def test_a_text_is_trained_to_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    assert trained_text(Text("one two"), tokenizer) == "one two <end>"


def test_what_is_too_long_loses_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    row = render(Text("one two three"), tokenizer, max_length=2)
    assert (len(row.input_ids), len(row.labels), row.truncated) == (2, 2, True)
    assert not render(Text("one two three"), tokenizer, max_length=4).truncated


def test_rows_without_an_answer_are_dropped_and_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT
    masked = Conversation((Message("user", "one " * 20), Message("assistant", "two")))
    rendered = render_rows([ONE_TURN] * 39 + [masked], tokenizer, max_length=12)
    assert (len(rendered.rows), rendered.truncated, rendered.fully_masked) == (39, 1, 1)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "the base has no chat template"),
        (RESTLESS, "renders answers differently within a conversation"),
        (STRICT, "refuses the roles"),
    ],
)
def test_templates_that_cannot_be_used(tokenizer: PreTrainedTokenizerFast, template: str | None, message: str) -> None:
    tokenizer.chat_template = template
    conversation = Conversation((Message("tool", "one"), Message("assistant", "two")))
    with pytest.raises(BadDatasetError, match=message):
        render(conversation, tokenizer, max_length=64)
