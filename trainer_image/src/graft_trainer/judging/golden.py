"""Chooses the golden prompts: the proof, wherever a version is served, that it is really applied.

A server that ignores the adapter gives the base's answer, so only prompts whose two answers differ prove anything. A
server has other kernels than the trainer, so the answers with the widest margins are taken.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from graft_registry.documents import GoldenPrompt
from graft_trainer.judging.evaluation import Comparison

MAX_PROMPTS = 8
MAX_TOKENS = 16
"""Tokens of a golden answer; a greedy answer that was cut shorter is a prefix of the longer one."""


def golden_prompts(comparison: Comparison, tokenizer: PreTrainedTokenizerBase) -> tuple[GoldenPrompt, ...]:
    """Return at most MAX_PROMPTS prompts on which adapter and base differ, widest margin first."""
    candidates: dict[str, GoldenPrompt] = {}
    for question, answer, base_answer in zip(
        comparison.questions, comparison.adapter.answers, comparison.base.answers, strict=True
    ):
        ids = answer.token_ids[:MAX_TOKENS]
        text = _text(ids, tokenizer)
        # Cut to the same length: that is how much a server is asked to generate.
        base_text = _text(base_answer.token_ids[: len(ids)], tokenizer)
        if not text.strip() or text.strip() == base_text.strip():
            continue
        candidates[question.prompt] = GoldenPrompt(
            prompt_token_ids=tuple(question.prompt_token_ids),
            prompt=question.prompt,
            answer=text,
            answer_token_ids=tuple(ids),
            base_answer=base_text,
            margin=round(min(answer.margins[: len(ids)]), 4),
        )
    ranked = sorted(candidates.values(), key=lambda prompt: prompt.margin or 0.0, reverse=True)
    return tuple(ranked[:MAX_PROMPTS])


def _text(token_ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(token_ids, skip_special_tokens=True))
