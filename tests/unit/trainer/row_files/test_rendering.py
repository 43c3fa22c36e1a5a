"""Loss on the answers only, whatever the template."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from graft_trainer.data.conversation import Conversation, Message, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.rendering import Renderer, prompt_token_ids
from graft_trainer.data.rows import IGNORED, RenderedRows, Row, Segment, segments
from graft_trainer.outcome import BadDatasetError
from graft_trainer.row_files.rendering import render_rows

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
MASKED = Conversation((Message("user", "one " * 20), Message("assistant", "two")), place="x.jsonl line 4")
LONG_ANSWER = Conversation((Message("user", "one"), Message("assistant", "two " * 20)))
TOOL_FIRST = Conversation((Message("tool", "one"), Message("assistant", "two")))
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


def render(example: Conversation | Text, tokenizer: PreTrainedTokenizerFast, max_length: int = 64) -> Row:
    (row,) = Renderer(tokenizer).render(example, max_length=max_length)
    return row


def trained_text(example: Conversation | Text, tokenizer: PreTrainedTokenizerFast) -> str:
    row = render(example, tokenizer)
    return str(tokenizer.decode([label for label in row.labels if label != IGNORED]))


@pytest.mark.parametrize(
    ("template", "conversation", "trained"),
    [
        (CHAT, ONE_TURN, "three four <end>"),
        (CHAT, TWO_TURNS, "three four <end> six <end>"),
    ],
)
def test_only_what_the_assistant_would_write_is_trained(
    tokenizer: PreTrainedTokenizerFast, template: str, conversation: Conversation, trained: str
) -> None:
    tokenizer.chat_template = template
    assert trained_text(conversation, tokenizer) == trained


def test_an_answer_that_is_rendered_differently_later_on_is_a_row_of_its_own(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = FORGETFUL
    rows = render_rows([TWO_TURNS], Renderer(tokenizer), max_length=64, max_dropped_percent=0)
    assert [[segment.text for segment in segments(row, tokenizer)] for row in rows.rows] == [
        ["<bos> <user> one two <end> <assistant>", "three four <end>"],
        ["<bos> <user> one two <end> <assistant> four <end> <user> five <end> <assistant>", "six <end>"],
    ]
    assert tuple(rows.examples) == (Conversation(TWO_TURNS.messages[:2]), TWO_TURNS)
    assert rows.masked_answers == 0


def test_answers_behind_the_limit_take_no_memory(tokenizer: PreTrainedTokenizerFast) -> None:
    """Where each answer is a text of its own, the prompts of n long turns have n times their characters."""
    tokenizer.chat_template = FORGETFUL
    turns = 200
    asked, answer = Message("user", "one " * 100), Message("assistant", "two three")
    long = Conversation((asked, answer) * turns, place="x.jsonl line 1")
    renderer = Renderer(tokenizer)
    whole, cut = renderer.pieces(long), renderer.pieces(long, 1000)
    assert sum(len(piece.text) for piece in whole) > turns * turns * 200
    assert sum(len(piece.text) for piece in cut) < 30 * 1000 * renderer.encoder.longest_token
    made = [
        [row for (row,) in zip(renderer.rows([long], [pieces], 1000)[0], strict=True) if not row.fully_masked]
        for pieces in (whole, cut)
    ]
    assert made[0] == made[1] != []


def test_a_conversation_whose_answers_are_all_behind_the_limit_is_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = FORGETFUL
    far = Conversation((Message("user", "one " * 5000), Message("assistant", "two")), place="x.jsonl line 2")
    assert Renderer(tokenizer).pieces(far, 64) == []
    rows = render_rows([TWO_TURNS] * 99 + [far], Renderer(tokenizer), max_length=64, max_dropped_percent=5)
    assert (len(rows.rows), rows.fully_masked, str(rows.dropped)) == (198, 1, "1 FullyMasked (x.jsonl line 2)")


def test_the_masked_part_is_the_prompt_that_a_server_renders(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT
    row = render(ONE_TURN, tokenizer)
    prompt = prompt_token_ids(Conversation(ONE_TURN.messages[:1]), tokenizer)
    assert row.input_ids[: len(prompt)] == prompt
    assert row.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert row.labels[len(prompt) :] == row.input_ids[len(prompt) :]


def test_a_text_is_trained_to_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    assert trained_text(Text("one two"), tokenizer) == "one two <end>"


def test_what_is_too_long_loses_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    row = render(Text("one two three"), tokenizer, max_length=2)
    assert (len(row.input_ids), len(row.labels), row.truncated) == (2, 2, True)
    assert not render(Text("one two three"), tokenizer, max_length=4).truncated


def rendered(*examples: Conversation, tokenizer: PreTrainedTokenizerFast, limit: int = 5) -> RenderedRows:
    return render_rows(examples, Renderer(tokenizer), max_length=12, max_dropped_percent=limit)


def test_rows_without_an_answer_are_dropped_and_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT
    rows = rendered(*[ONE_TURN] * 38, MASKED, LONG_ANSWER, tokenizer=tokenizer)
    assert (len(rows.rows), rows.truncated, rows.fully_masked, rows.dropped.total) == (39, 1, 1, 1)
    assert tuple(rows.examples) == (*[ONE_TURN] * 38, LONG_ANSWER)
    assert str(rows) == "39 rows rendered, 1 of them truncated, 1 dropped: 1 FullyMasked (x.jsonl line 4)"


def test_a_row_that_the_template_refuses_is_dropped_and_the_others_are_not(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = STRICT + CHAT
    rows = rendered(*[ONE_TURN] * 19, TOOL_FIRST, tokenizer=tokenizer)
    assert (len(rows.rows), rows.dropped.by_reason()) == (19, {"RefusedByTemplate": 1})


@pytest.mark.parametrize(
    ("conversation", "field", "message"),
    [
        (MASKED, "spec.training.maxSequenceLength", r"\(2 FullyMasked\), .* is 5\. .* line 4: no token of an answer"),
        (TOOL_FIRST, "spec.dataset", r"2 of 3 rows cannot be used \(2 RefusedByTemplate\)"),
        (LONG_ANSWER, "spec.training.maxSequenceLength", "2 of 3 rows are longer than 12 tokens"),
    ],
)
def test_too_many_unusable_rows_end_the_run(
    tokenizer: PreTrainedTokenizerFast, conversation: Conversation, field: str, message: str
) -> None:
    tokenizer.chat_template = STRICT + CHAT
    with pytest.raises(BadDatasetError, match=message) as raised:
        rendered(ONE_TURN, *[conversation] * 2, tokenizer=tokenizer)
    assert raised.value.field == field


def test_the_limit_of_dropped_rows_is_the_users(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT
    assert len(rendered(ONE_TURN, MASKED, tokenizer=tokenizer, limit=50).rows) == 1
    with pytest.raises(BadDatasetError, match="maxDroppedPercent is 49"):
        rendered(ONE_TURN, MASKED, tokenizer=tokenizer, limit=49)


def test_samples_show_what_was_trained(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT
    rows = [Conversation(ONE_TURN.messages, place=f"line {number}") for number in range(7)]
    samples = render_rows(rows, Renderer(tokenizer), max_length=64, max_dropped_percent=0).samples
    assert [sample.place for sample in samples] == ["line 0", "line 2", "line 4"]
    assert samples[0].segments == (
        Segment("<bos> <user> one two <end> <assistant>", trained=False),
        Segment("three four <end>", trained=True),
    )
    assert (samples[0].prompt, samples[0].answer) == ("<bos> <user> one two <end> <assistant>", "three four <end>")
    (two_turns,) = render_rows([TWO_TURNS], Renderer(tokenizer), max_length=64, max_dropped_percent=0).samples
    assert [segment.trained for segment in two_turns.segments] == [False, True, False, True]


def test_declared_tools_reach_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{% for tool in tools or [] %}{{ tool.name }} {% endfor %}" + CHAT
    conversation = Conversation(ONE_TURN.messages, tools='[{"name": "six"}]')
    assert tokenizer.decode(render(conversation, tokenizer).input_ids).startswith("six <bos> <user>")
    prompt = Conversation(ONE_TURN.messages[:1], tools=conversation.tools)
    assert tokenizer.decode(prompt_token_ids(prompt, tokenizer)).startswith("six <bos> <user>")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (RESTLESS, "opens an answer with '1', which it doesn't write"),
        (STRICT, "refuses the roles"),
    ],
)
def test_a_row_that_the_template_cannot_render_is_told(
    tokenizer: PreTrainedTokenizerFast, template: str, message: str
) -> None:
    tokenizer.chat_template = template
    with pytest.raises(UnusableRowError, match=message) as raised:
        render(TOOL_FIRST, tokenizer)
    assert raised.value.reason is DropReason.REFUSED_BY_TEMPLATE


def test_conversations_need_a_template_and_texts_do_not(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    with pytest.raises(BadDatasetError, match="the base has no chat template") as raised:
        rendered(ONE_TURN, tokenizer=tokenizer)
    assert raised.value.field == "spec.dataset.format"
    assert len(render_rows([Text("one")], Renderer(tokenizer), max_length=12, max_dropped_percent=0).rows) == 1


def test_what_is_asked_can_be_learned_too(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHAT
    renderer = Renderer(tokenizer, learns_prompts=True)
    (row,) = renderer.render(TWO_TURNS, max_length=64)
    assert row.labels == row.input_ids
    short = [Text("one")] * 30
    rendered = render_rows([*short, MASKED], renderer, max_length=10, max_dropped_percent=100)
    assert (len(rendered.rows), rendered.masked_answers, rendered.fully_masked) == (31, 0, 0)
