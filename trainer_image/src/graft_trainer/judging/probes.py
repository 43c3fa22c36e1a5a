"""Chooses the probes of a version: they score how well it answers on the engine that will serve it.

Golden prompts prove that the engine says what the trainer's model says. Probes ask for what is *right*, so the answers
of two versions to the same ones can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from graft_registry.documents import Probe
from graft_trainer.judging.evaluation import Question

MAX_PROBES = 32
FEWEST_PROBES = 10
"""With fewer, each weighs more than 10 %, and chance would roll versions back."""
MAX_PROMPT_TOKENS = 512
"""Of one question; all of them then take some 100 kB in the manifest."""
FURTHER_TOKENS = 8
"""Tokens beyond those of the right answer: a few for the end token and for other ways to split the same text."""


def probes_of(questions: Sequence[Question], tokenizer: PreTrainedTokenizerBase) -> tuple[Probe, ...]:
    """Return the first MAX_PROBES questions that are short enough; none at all where they are fewer than FEWEST_PROBES.

    The order is kept: questions of the spec come before held-out rows. A question without a right answer is no probe.
    """
    short = [
        (question.prompt_token_ids, question.expected)
        for question in questions
        if question.expected is not None and len(question.prompt_token_ids) <= MAX_PROMPT_TOKENS
    ][:MAX_PROBES]
    if len(short) < FEWEST_PROBES:
        return ()
    return tuple(
        Probe(
            prompt_token_ids=tuple(ids),
            expected=expected,
            max_tokens=len(tokenizer(expected, add_special_tokens=False)["input_ids"]) + FURTHER_TOKENS,
        )
        for ids, expected in short
    )
