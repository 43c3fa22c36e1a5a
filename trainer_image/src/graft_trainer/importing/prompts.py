"""The questions by which an imported adapter is told from its base: rows, the spec's prompts, or sampled prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from peft import PeftModel
from transformers import GenerationConfig

from graft_trainer.config import EvaluationConfig
from graft_trainer.data.conversation import Conversation, Example, Message
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import IGNORED, Row
from graft_trainer.judging.evaluation import Answer, Question, end_tokens, questions_of

SAMPLED: Final = 32
"""Prompts that are sampled: enough, although some are duplicates, and to some the adapter answers as the base does."""
SAMPLED_TOKENS: Final = 12
"""Most tokens of a sampled prompt."""
PLACE: Final = "PLACE-OF-THE-QUESTION"


def questions_for(evaluation: EvaluationConfig, examples: Sequence[Example], renderer: Renderer) -> list[Question]:
    """Return what is asked where there are rows, or else what the spec gives: probes, then prompts."""
    limit = evaluation.max_probe_rows
    if examples:
        return questions_of(evaluation.probes, examples, renderer, limit=limit)
    if renderer.tokenizer.chat_template:
        known = questions_of(evaluation.probes, (), renderer, limit=limit)
    else:
        known = [_asked(probe.prompt, renderer, probe.expected) for probe in evaluation.probes[:limit]]
    return known + [_asked(prompt, renderer) for prompt in evaluation.prompts]


def sampled_questions(model: PeftModel, renderer: Renderer, *, seed: int) -> list[Question]:
    """Sample short prompts from the base: what it would write in a user's place, or at the beginning of a text.

    The same seed gives the same prompts. They are like what the base was trained on, so an adapter that changes any
    answers changes those to some of them.
    """
    opening = _opening_ids(renderer)
    ends = end_tokens(model, renderer.tokenizer)
    inputs = torch.tensor([opening] * SAMPLED, device=model.device)
    with torch.random.fork_rng(), torch.inference_mode(), model.disable_adapter():
        torch.manual_seed(seed)
        before = model.generation_config
        model.generation_config = model.get_base_model().generation_config = _sampling(ends, renderer)
        output = model.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs))
        model.generation_config = model.get_base_model().generation_config = before
    texts = renderer.tokenizer.batch_decode(output[:, len(opening) :], skip_special_tokens=True)
    prompts = dict.fromkeys(" ".join(text.split()) for text in texts)
    return [_asked(prompt, renderer) for prompt in prompts if prompt]


def answered_rows(questions: Sequence[Question], answers: Sequence[Answer]) -> list[Row]:
    """Return rows of which the adapter's own answers are to learn: what a merged model is compared on."""
    return [
        Row.labelled(
            [*question.prompt_token_ids, *answer.token_ids],
            [IGNORED] * len(question.prompt_token_ids) + answer.token_ids,
        )
        for question, answer in zip(questions, answers, strict=True)
        if answer.token_ids
    ]


def _asked(prompt: str, renderer: Renderer, expected: str | None = None) -> Question:
    if renderer.tokenizer.chat_template:
        ids = renderer.prompt_ids(Conversation((Message("user", prompt),)))
    else:
        ids = list(renderer.tokenizer(prompt)["input_ids"])
    return Question(ids, str(renderer.tokenizer.decode(ids)), expected)


def _opening_ids(renderer: Renderer) -> list[int]:
    """Return the tokens after which the base writes what a user would."""
    tokenizer, template = renderer.tokenizer, renderer.template
    if tokenizer.chat_template:
        turns = template.turns([Message("user", PLACE)])
        before, found, _ = template.render(turns, None).partition(PLACE)
        ids = list(renderer.encoder.ids(before)) if found else []
        if ids:
            return ids
    return [tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id]


def _sampling(ends: set[int], renderer: Renderer) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=SAMPLED_TOKENS,
        do_sample=True,
        temperature=1.0,
        top_k=50,
        eos_token_id=sorted(ends),
        pad_token_id=renderer.tokenizer.pad_token_id,
        use_cache=True,
    )
