"""Turns examples into token ids and labels with the base's own chat template.

Serving renders requests with that same template, so training must too. Labels cover the assistant's turns only; every
other token is masked. The turns are found by rendering the conversation up to each of them, which works for templates
without `{% generation %}` marks, and mapping characters to tokens by the tokenizer's offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft_trainer.formats import Conversation, Example, Message
from graft_trainer.outcome import BadDatasetError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that the loss leaves out (PyTorch's cross-entropy default)."""

MAX_FULLY_MASKED_SHARE = 0.05
"""More rows than this without a single trained token means that something is wrong with the data or the limit."""

MAX_TRUNCATED_SHARE = 0.25
"""More rows than this cut short means that the model would learn not to finish its answers."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRows:
    """The rows that can be used, and how many could not or only in part."""

    rows: tuple[Row, ...]
    truncated: int
    fully_masked: int


def render_rows(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> RenderedRows:
    """Render every example, dropping fully masked rows.

    Raises BadDatasetError where too many rows are truncated or fully masked, or the base has no chat template.
    """
    rendered = [render(example, tokenizer, max_length=max_length) for example in examples]
    truncated = sum(row.truncated for row in rendered)
    masked = sum(row.fully_masked for row in rendered)
    if masked > MAX_FULLY_MASKED_SHARE * len(rendered):
        raise BadDatasetError(
            f"{masked} of {len(rendered)} rows have no answer token within {max_length} tokens; raise "
            "spec.training.maxSequenceLength or shorten the prompts",
            field="spec.training.maxSequenceLength",
        )
    if truncated > MAX_TRUNCATED_SHARE * len(rendered):
        raise BadDatasetError(
            f"{truncated} of {len(rendered)} rows are longer than {max_length} tokens and would lose the end of "
            "their answers; raise spec.training.maxSequenceLength or shorten the rows",
            field="spec.training.maxSequenceLength",
        )
    usable = tuple(row for row in rendered if not row.fully_masked)
    return RenderedRows(rows=usable, truncated=truncated, fully_masked=masked)


def render(example: Example, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> Row:
    """Render one example; what is longer than ``max_length`` tokens loses its end."""
    if isinstance(example, Conversation):
        input_ids, labels = _render_conversation(example.messages, tokenizer)
    else:
        input_ids = [*tokenizer(example.text)["input_ids"], tokenizer.eos_token_id]
        labels = list(input_ids)
    return Row(input_ids[:max_length], labels[:max_length], truncated=len(input_ids) > max_length)


def prompt_token_ids(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Render the turns so far and open the assistant's next one, as a server does for a chat request."""
    text = _apply_template(messages, tokenizer, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _render_conversation(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    text = _apply_template(messages, tokenizer)
    spans = _answer_spans(messages, text, tokenizer)
    # The template writes the special tokens itself: adding them again would double the first one.
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    input_ids = list(encoding["input_ids"])
    labels = [
        token if any(start <= first and last <= end for start, end in spans) else IGNORED
        for token, (first, last) in zip(input_ids, encoding["offset_mapping"], strict=True)
    ]
    return input_ids, labels


def _answer_spans(messages: Sequence[Message], text: str, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
    """Find the characters of ``text`` that each assistant turn wrote, its end mark included.

    A template may render an earlier turn differently once others follow (dropping its reasoning, for one). Such a turn
    is not what the model would have to write there, so it is left masked.
    """
    spans = []
    for position, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = _apply_template(messages[:position], tokenizer, add_generation_prompt=True)
        through = _apply_template(messages[: position + 1], tokenizer)
        if text.startswith(before) and text.startswith(through):
            spans.append((len(before), len(through)))
    if not spans:
        raise BadDatasetError(
            "the base's chat template renders answers differently within a conversation than at its end, so they "
            "cannot be told from prompts; use format Text with rows that are rendered already",
            field="spec.dataset.format",
        )
    return spans


def _apply_template(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, *, add_generation_prompt: bool = False
) -> str:
    if not tokenizer.chat_template:
        raise BadDatasetError(
            "the base has no chat template, so conversations cannot be rendered; use format Text or an instruct base",
            field="spec.dataset.format",
        )
    turns = [message.as_dict() for message in messages]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    except Exception as error:
        # Templates raise jinja2 errors of many classes for roles that they do not support.
        raise BadDatasetError(
            f"the base's chat template refuses the roles {[message.role for message in messages]}: {error}",
            field="spec.dataset",
        ) from error
    return str(text)
