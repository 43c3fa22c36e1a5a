"""Judges the finished adapter beside its base: on held-out rows and by exact answers.

Both are judged on the *serving base*, in the base's own precision, with the adapter read back from the files that will
be published. What an adapter scores on the 4-bit base that it was trained on is not what its users get.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from peft import PeftModel
from transformers import DataCollatorForSeq2Seq, GenerationConfig, PreTrainedTokenizerBase

from graft_trainer.config import Probe
from graft_trainer.data.chat_template import visible
from graft_trainer.data.conversation import Conversation, Example, Message, Preference
from graft_trainer.data.dropped_rows import UnusableRowError
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import IGNORED, Row
from graft_trainer.methods.long_context import LongContext
from graft_trainer.training.features import row_features

Item = TypeVar("Item")

BATCH_ROWS = 8
BATCH_TOKENS = 8192
"""Most rows and tokens, padding included, of a forward pass; a longer row is a batch by itself. The logits of a batch
take vocabulary × tokens × 4 bytes, and whatever fitted the training has to fit the evaluation, too."""

MAX_ANSWER_TOKENS = 64
"""Longest answer that is judged by exact match; longer texts never match word for word."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, as token ids, with the answer that counts as right; None where a row only says which is better."""

    prompt_token_ids: list[int]
    prompt: str
    expected: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A greedy answer: its tokens without the end token, and per token how far the best logit was ahead.

    ``margins`` has one entry more than ``token_ids`` where the answer ended by itself: the end token's.
    """

    token_ids: list[int]
    margins: list[float]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Figures of one model. Losses in nats per answer token; None where there was nothing to measure on."""

    loss: float | None
    exact_match: float | None
    answers: list[Answer]

    @property
    def perplexity(self) -> float | None:
        """``exp(loss)``."""
        return None if self.loss is None else math.exp(min(self.loss, 700.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The adapter beside its base, on the same rows and questions."""

    questions: list[Question]
    adapter: Scores
    base: Scores


def compare(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    questions: list[Question],
    *,
    between_batches: Callable[[], None] = lambda: None,
    context: LongContext | None = None,
) -> Comparison:
    """Score the adapter and, with it switched off, its base. ``between_batches`` may raise to stop.

    A ``context`` longer than the base's own is the adapter's alone.
    """
    model.eval()
    adapter = _score(model, tokenizer, rows, questions, between_batches)
    with model.disable_adapter(), context.undone(model) if context else nullcontext():
        base = _score(model, tokenizer, rows, questions, between_batches)
    return Comparison(questions=questions, adapter=adapter, base=base)


@torch.inference_mode()
def _score(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    questions: list[Question],
    between_batches: Callable[[], None],
) -> Scores:
    answers = greedy_answers(model, tokenizer, questions, between_batches)
    right = [
        visible(answer.text) == visible(question.expected)
        for answer, question in zip(answers, questions, strict=True)
        if question.expected is not None
    ]
    return Scores(
        loss=mean_loss(model, tokenizer, rows, between_batches),
        exact_match=sum(right) / len(right) if right else None,
        answers=answers,
    )


def questions_of(
    probes: Sequence[Probe], examples: Sequence[Example], renderer: Renderer, *, limit: int
) -> list[Question]:
    """Choose at most ``limit`` questions: every probe first, then held-out rows whose last turn is a short answer.

    The right answer is what the template makes of it, an empty thought before it included: that is what is learned,
    and what a server returns. Of preferences the prompt is asked, and no answer is the only right one.
    """
    asked: list[tuple[Conversation, Message | None]] = [
        (Conversation((Message("user", probe.prompt),)), Message("assistant", probe.expected)) for probe in probes
    ]
    for example in examples:
        if isinstance(example, Preference):
            asked.append((example.prompt, None))
        elif isinstance(example, Conversation) and is_answer(example.messages[-1]):
            asked.append((Conversation(example.messages[:-1], example.tools), example.messages[-1]))
    questions: list[Question] = []
    for prompt, answer in asked:
        if len(questions) == limit:
            break
        expected = None if answer is None else _expected(prompt, answer, renderer)
        if expected is None or len(renderer.encoder.ids(expected)) <= MAX_ANSWER_TOKENS:
            ids = renderer.prompt_ids(prompt)
            questions.append(Question(ids, renderer.tokenizer.decode(ids), expected))
    return questions


def _expected(prompt: Conversation, answer: Message, renderer: Renderer) -> str:
    try:
        return renderer.expected(prompt, answer)
    except UnusableRowError:
        # A probe is not trained on, so it can be asked even where the template can't render its answer as a row.
        return answer.content


def is_answer(message: Message) -> bool:
    """Whether a turn is nothing but words of the assistant, so that a generated text can equal it."""
    return message.is_to_learn and not message.tool_calls


def mean_loss(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    between_batches: Callable[[], None] = lambda: None,
) -> float | None:
    """Return the mean negative log-likelihood of the answer tokens, in nats; every token weighs the same."""
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)
    total, tokens = 0.0, 0
    for batch in batches(rows, len):
        between_batches()
        inputs = collate([row_features(row) for row in batch])
        labels = inputs.pop("labels").to(model.device)
        # Trained prompts come before the row's own tokens, so these are counted from the end.
        logits = model(**inputs.to(model.device)).logits[:, -labels.shape[1] : -1].float()
        targets = labels[:, 1:]
        total += torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        ).item()
        tokens += int((targets != IGNORED).sum())
    return total / tokens if tokens else None


def greedy_answers(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    between_batches: Callable[[], None] = lambda: None,
) -> list[Answer]:
    """Answer every question greedily, with at most MAX_ANSWER_TOKENS new tokens."""
    answers: list[Answer] = []
    ends = end_tokens(model, tokenizer)
    # Set on the model rather than passed to generate(), which would fill unset fields from the model's own. And set on
    # both models: PEFT hands its configuration on to the wrapped one for most methods, but not for prompt tuning.
    model.generation_config = model.get_base_model().generation_config = _greedy_config(ends, tokenizer)
    # A trained prompt would come before the padding, further from the question than it was trained to be.
    most = 1 if model.active_peft_config.is_prompt_learning else BATCH_ROWS
    for batch in batches(questions, lambda question: len(question.prompt_token_ids) + MAX_ANSWER_TOKENS, most=most):
        between_batches()
        prompts = tokenizer.pad(
            {"input_ids": [question.prompt_token_ids for question in batch]},
            padding_side="left",
            return_tensors="pt",
        ).to(model.device)
        output = model.generate(**prompts)
        best_two = torch.stack(output.logits, dim=1).float().topk(2).values
        margins = (best_two[..., 0] - best_two[..., 1]).tolist()
        new_tokens = output.sequences[:, prompts["input_ids"].shape[1] :].tolist()
        answers += [_answer(ids, row, ends, tokenizer) for ids, row in zip(new_tokens, margins, strict=True)]
    return answers


def _answer(ids: list[int], margins: list[float], ends: set[int], tokenizer: PreTrainedTokenizerBase) -> Answer:
    length = next((position for position, token in enumerate(ids) if token in ends), len(ids))
    token_ids = ids[:length]
    return Answer(token_ids, margins[: length + 1], tokenizer.decode(token_ids, skip_special_tokens=True))


def _greedy_config(ends: set[int], tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Return the configuration of plain greedy decoding, without anything of the base's own.

    The base's configuration may ask for a repetition penalty. Some servers apply it and some don't, and with it the
    token that is chosen need not be the one with the highest logit, so margins would mean nothing.
    """
    return GenerationConfig(
        max_new_tokens=MAX_ANSWER_TOKENS,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        return_dict_in_generate=True,
        output_logits=True,
        use_cache=True,
    )


def end_tokens(model: PeftModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the tokens at which an answer ends."""
    configured = model.generation_config.eos_token_id
    tokens = configured if isinstance(configured, list) else [configured]
    return {token for token in (*tokens, tokenizer.eos_token_id) if token is not None}


def batches(items: Iterable[Item], tokens: Callable[[Item], int], *, most: int = BATCH_ROWS) -> Iterator[list[Item]]:
    """Cut items into batches of at most ``most``, each with no more than BATCH_TOKENS once it is padded."""
    batch: list[Item] = []
    longest = 0
    for item in items:
        longest = max(longest, tokens(item))
        if batch and (len(batch) == most or (len(batch) + 1) * longest > BATCH_TOKENS):
            yield batch
            batch, longest = [], tokens(item)
        batch.append(item)
    if batch:
        yield batch
