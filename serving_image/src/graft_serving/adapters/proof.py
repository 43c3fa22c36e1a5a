"""Proof that a loaded version really is applied: the engine must answer as the trainer saw the model answer. Pure.

The engine answers 200 for an adapter of another base and then talks nonsense, so a successful load proves nothing.
"""

import itertools
from collections.abc import Sequence
from fractions import Fraction

from graft_registry.documents import GoldenPrompt
from graft_serving.engine.client import Generation

REQUIRED_AGREEMENT = Fraction(3, 4)
"""Share of golden prompts that must agree. Not all: engine and trainer round differently."""
COMFORTABLE_MARGIN = 0.3
"""Nats between best and second-best token, below which an answer is a near tie and proves nothing. An adapter that was
trained on a base in 4 bits and is served on the same base in full precision finds each logit shifted by up to 0.14."""


MOST_PROMPTS = 8
MOST_PROMPT_TOKENS = 2048
MOST_ANSWER_TOKENS = 64
"""Bounds of a proof, whatever a manifest says: users of other adapters wait for it. Trainers record 8 prompts with
answers of 16 tokens."""


def askable(golden: Sequence[GoldenPrompt], max_model_length: int | None) -> tuple[GoldenPrompt, ...]:
    """The golden prompts that are asked: so few, so short, and with room for their answers in the engine's length."""
    longest = max_model_length or MOST_PROMPT_TOKENS + MOST_ANSWER_TOKENS
    fitting = (
        prompt
        for prompt in golden
        if 0 < len(prompt.prompt_token_ids) <= MOST_PROMPT_TOKENS
        and len(prompt.answer_token_ids) <= MOST_ANSWER_TOKENS
        and len(prompt.prompt_token_ids) + max(1, len(prompt.answer_token_ids)) <= longest
    )
    return tuple(itertools.islice(fitting, MOST_PROMPTS))


def same_answer(recorded: GoldenPrompt, generated: Generation) -> bool:
    """Whether both are the same greedy answer; one may carry the end-of-sequence token that the other leaves out."""
    if generated.token_ids is None:
        return recorded.answer.strip() == generated.text.strip()
    ours, theirs = recorded.answer_token_ids, generated.token_ids
    return ours == theirs or ours[:-1] == theirs or ours == theirs[:-1]


def proof_failure(recorded: Sequence[GoldenPrompt], generated: Sequence[Generation]) -> str | None:
    """Say why the engine's answers don't prove that the adapter is applied; None if they do.

    Both sequences have the same order and length. Without golden prompts there is nothing to disagree with. Near ties
    count only where there are no other prompts.
    """
    pairs = list(zip(recorded, generated, strict=True))
    telling = [(golden, answer) for golden, answer in pairs if _differs_from_base(golden)]
    if telling and all(_is_base_answer(golden, answer) for golden, answer in telling):
        return (
            f"on all {len(telling)} golden prompts where the adapter differs from its base the engine gave "
            "the base's answer: the adapter is not applied"
        )
    clear = [(golden, answer) for golden, answer in pairs if not _is_near_tie(golden)] or pairs
    agreeing = sum(same_answer(golden, answer) for golden, answer in clear)
    if agreeing < REQUIRED_AGREEMENT * len(clear):
        return (
            f"the engine agrees with the trainer on {agreeing} of {len(clear)} golden prompts, "
            f"at least {REQUIRED_AGREEMENT} are needed: the version or the base is not what it was trained as"
        )
    return None


def _is_near_tie(recorded: GoldenPrompt) -> bool:
    return recorded.margin is not None and recorded.margin < COMFORTABLE_MARGIN


def _differs_from_base(recorded: GoldenPrompt) -> bool:
    return recorded.base_answer is not None and recorded.answer.strip() != recorded.base_answer.strip()


def _is_base_answer(recorded: GoldenPrompt, generated: Generation) -> bool:
    return recorded.base_answer is not None and generated.text.strip() == recorded.base_answer.strip()
