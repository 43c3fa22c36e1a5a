"""Turns examples into token ids and labels with the base's own chat template.

Serving renders requests with that same template, so training must too. Labels cover the assistant's turns only; every
other token is masked. The turns are found by rendering the conversation up to each of them, which works for templates
without `{% generation %}` marks, and mapping characters to tokens by the tokenizer's offsets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from graft_trainer.data.conversation import Conversation, Example, Message
from graft_trainer.data.dropped_rows import DropReason, DropTally, UnusableRowError, check_limit
from graft_trainer.outcome import BadDatasetError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that the loss leaves out (PyTorch's cross-entropy default)."""

MAX_TRUNCATED_SHARE = 0.25
"""More rows than this cut short means that the model would learn not to finish its answers."""

SAMPLES = 3
"""Rows that are shown as they were trained."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rendered example: ``input_ids`` and ``labels`` have the same length."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool

    @property
    def fully_masked(self) -> bool:
        """Whether nothing would be learned from the row (the first label is never predicted)."""
        return all(label == IGNORED for label in self.labels[1:])


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a rendered row, special tokens included, that is trained on as a whole or not at all."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A row as the model saw it: its segments in order, prompts and answers in turn."""

    place: str
    segments: tuple[Segment, ...]

    @property
    def prompt(self) -> str:
        """All that was not trained on."""
        return "".join(segment.text for segment in self.segments if not segment.trained)

    @property
    def answer(self) -> str:
        """All that was trained on."""
        return "".join(segment.text for segment in self.segments if segment.trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRows:
    """The rows that can be used, and how many could not or only in part.

    ``examples`` are those that ``rows`` were rendered from, in the same order; ``truncated`` of them lost their end.
    """

    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    truncated: int
    dropped: DropTally
    samples: tuple[Sample, ...]

    @property
    def fully_masked(self) -> int:
        """Rows that were left out because no token of their answers was within the limit."""
        return self.dropped.counts[DropReason.FULLY_MASKED]

    def __str__(self) -> str:
        """Say how many rows there are, in one line."""
        dropped = f", {self.dropped.total} dropped: {self.dropped}" if self.dropped.total else ""
        return f"{len(self.rows)} rows rendered, {self.truncated} of them truncated{dropped}"


def render_rows(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int, max_dropped_percent: int
) -> RenderedRows:
    """Render every example, leaving out those that cannot be learned from.

    Raises BadDatasetError where too many are left out or truncated, or the base has no chat template.
    """
    dropped = DropTally()
    usable: list[tuple[Example, Row]] = []
    for example in examples:
        try:
            usable.append((example, _usable(render(example, tokenizer, max_length=max_length), max_length)))
        except UnusableRowError as error:
            dropped.add(example.place, error)
    _check_limits(dropped, [row for _, row in usable], max_length, max_dropped_percent)
    return RenderedRows(
        rows=tuple(row for _, row in usable),
        examples=tuple(example for example, _ in usable),
        truncated=sum(row.truncated for _, row in usable),
        dropped=dropped,
        samples=_samples(usable, tokenizer),
    )


def render(example: Example, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> Row:
    """Render one example; what is longer than ``max_length`` tokens loses its end.

    Raises UnusableRowError where the template refuses it, and BadDatasetError where there is no template.
    """
    if isinstance(example, Conversation):
        input_ids, labels = _render_conversation(example, tokenizer)
    else:
        input_ids = [*tokenizer(example.text)["input_ids"], tokenizer.eos_token_id]
        labels = list(input_ids)
    return Row(input_ids[:max_length], labels[:max_length], truncated=len(input_ids) > max_length)


def segments(row: Row, tokenizer: PreTrainedTokenizerBase) -> tuple[Segment, ...]:
    """Return the text of a row, cut where training begins and ends."""
    pairs = zip(row.input_ids, row.labels, strict=True)
    return tuple(
        Segment(str(tokenizer.decode([token for token, _ in stretch])), trained)
        for trained, stretch in groupby(pairs, key=lambda pair: pair[1] != IGNORED)
    )


def prompt_token_ids(prompt: Conversation, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Render the turns so far and open the assistant's next one, as a server does for a chat request."""
    text = _apply_template(prompt.messages, prompt.tools, tokenizer, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _samples(usable: Sequence[tuple[Example, Row]], tokenizer: PreTrainedTokenizerBase) -> tuple[Sample, ...]:
    """Show a few rows from all over the dataset."""
    spread = usable[:: max(1, len(usable) // SAMPLES)][:SAMPLES]
    return tuple(Sample(example.place, segments(row, tokenizer)) for example, row in spread)


def _usable(row: Row, max_length: int) -> Row:
    if row.fully_masked:
        raise UnusableRowError(DropReason.FULLY_MASKED, f"no token of an answer is among the first {max_length} tokens")
    return row


def _check_limits(dropped: DropTally, rows: Sequence[Row], max_length: int, max_dropped_percent: int) -> None:
    masked = dropped.counts[DropReason.FULLY_MASKED]
    total = len(rows) + dropped.total
    if masked * 2 >= dropped.total:
        field, fix = "spec.training.maxSequenceLength", "Raise spec.training.maxSequenceLength or shorten the prompts"
    else:
        field, fix = "spec.dataset", "Change the rows to turns that the base's chat template knows"
    check_limit(dropped, total, max_percent=max_dropped_percent, field=field, fix=fix)
    truncated = sum(row.truncated for row in rows)
    if truncated > MAX_TRUNCATED_SHARE * total:
        raise BadDatasetError(
            f"{truncated} of {total} rows are longer than {max_length} tokens and would lose the end of "
            "their answers; raise spec.training.maxSequenceLength or shorten the rows",
            field="spec.training.maxSequenceLength",
        )


def _render_conversation(conversation: Conversation, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    text = _apply_template(conversation.messages, conversation.tools, tokenizer)
    spans = _answer_spans(conversation, text, tokenizer)
    # The template writes the special tokens itself: adding them again would double the first one.
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    input_ids = list(encoding["input_ids"])
    labels = [
        token if any(start <= first and last <= end for start, end in spans) else IGNORED
        for token, (first, last) in zip(input_ids, encoding["offset_mapping"], strict=True)
    ]
    return input_ids, labels


def _answer_spans(conversation: Conversation, text: str, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
    """Find the characters of ``text`` that each assistant turn wrote, its end mark included.

    A template may render an earlier turn differently once others follow (dropping its reasoning, for one). Such a turn
    is not what the model would have to write there, so it is left masked.
    """
    messages, tools = conversation.messages, conversation.tools
    spans = []
    for position, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = _apply_template(messages[:position], tools, tokenizer, add_generation_prompt=True)
        through = _apply_template(messages[: position + 1], tools, tokenizer)
        if text.startswith(before) and text.startswith(through):
            spans.append((len(before), len(through)))
    if not spans:
        raise UnusableRowError(
            DropReason.REFUSED_BY_TEMPLATE,
            "the base's chat template renders answers differently within a conversation than at its end, so they "
            "cannot be told from prompts; use format Text with rows that are rendered already",
        )
    return spans


def _apply_template(
    messages: Sequence[Message],
    tools: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    add_generation_prompt: bool = False,
) -> str:
    if not tokenizer.chat_template:
        raise BadDatasetError(
            "the base has no chat template, so conversations cannot be rendered; use format Text or an instruct base",
            field="spec.dataset.format",
        )
    turns = [message.as_dict() for message in messages]
    try:
        text = tokenizer.apply_chat_template(
            turns,
            tools=json.loads(tools) if tools else None,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    except Exception as error:
        # Templates raise jinja2 errors of many classes for roles that they do not support.
        raise UnusableRowError(
            DropReason.REFUSED_BY_TEMPLATE,
            f"the base's chat template refuses the roles {[message.role for message in messages]}: {error}",
        ) from error
    return str(text)
