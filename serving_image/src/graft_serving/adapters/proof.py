"""Proof that a loaded version really is applied: the engine must answer as the trainer saw the model answer. Pure.

The engine answers 200 for an adapter of another base and then talks nonsense, so a successful load proves nothing.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from graft_registry.documents import GoldenPrompt
from graft_serving.engine.client import Generation

REQUIRED_AGREEMENT = Fraction(3, 4)
"""Share of golden prompts that must agree. Not all: engine and trainer round differently."""
COMFORTABLE_MARGIN = 0.3
"""Nats between best and second-best token, below which an answer is a near tie and proves nothing. An adapter that was
trained on a base in 4 bits and is served on the same base in full precision finds each logit shifted by up to 0.14."""


_LEAK = "the engine applies the adapter to the base's requests"

MOST_PROMPTS = 8
MOST_PROMPT_TOKENS = 2048
MOST_ANSWER_TOKENS = 64
"""Bounds of a proof, whatever a manifest says: users of other adapters wait for it. Trainers record 8 prompts with
answers of 16 tokens."""
MOST_PROMPTS_OF_BASE = 4
FEWEST_PROMPTS_OF_BASE = 2
"""Of the golden prompts that the base is asked, too. It may give the adapter's answer to a single one by chance."""


def askable(golden: Sequence[GoldenPrompt], max_model_length: int | None) -> tuple[GoldenPrompt, ...]:
    """The golden prompts that are asked: so few, so short, and with room for their answers in the engine's length.

    Those that tell most come first: often the others need not be asked.
    """
    longest = max_model_length or MOST_PROMPT_TOKENS + MOST_ANSWER_TOKENS
    fitting = (
        prompt
        for prompt in golden
        if 0 < len(prompt.prompt_token_ids) <= MOST_PROMPT_TOKENS
        and len(prompt.answer_token_ids) <= MOST_ANSWER_TOKENS
        and len(prompt.prompt_token_ids) + max(1, len(prompt.answer_token_ids)) <= longest
    )
    asked = itertools.islice(fitting, MOST_PROMPTS)
    return tuple(sorted(asked, key=lambda prompt: (_is_near_tie(prompt), not _differs_from_base(prompt))))


def fewest_to_agree(prompts: int) -> int:
    """How many of so many prompts must agree. If the first ones all do, the others can't change the verdict."""
    return math.ceil(REQUIRED_AGREEMENT * prompts)


def fewest_to_ask(golden: Sequence[GoldenPrompt]) -> int:
    """How many of the prompts, in the order of `askable`, prove the adapter if the engine gives all their answers."""
    clear = sum(not _is_near_tie(prompt) for prompt in golden)
    return fewest_to_agree(clear or len(golden))


def same_answer(recorded: GoldenPrompt, generated: Generation) -> bool:
    """Whether both are the same greedy answer; one may carry the end-of-sequence token that the other leaves out."""
    if generated.token_ids is None:
        return recorded.answer.strip() == generated.text.strip()
    ours, theirs = recorded.answer_token_ids, generated.token_ids
    if ours == theirs:
        return True
    # What ends an answer has no text. Without that, any token would do for an answer of none, and none for one of one.
    is_end = recorded.answer.strip() == generated.text.strip()
    return is_end and (ours[:-1] == theirs or ours == theirs[:-1])


def proof_failure(recorded: Sequence[GoldenPrompt], generated: Sequence[Generation]) -> str | None:
    """Say why the engine's answers don't prove that the adapter is applied; None if they do.

    Both sequences have the same order. The last prompts may have no answers yet: then None means that whatever the
    engine answered, the verdict would be the same. Without golden prompts there is nothing to disagree with. Near ties
    count only where there are no other prompts.
    """
    pairs = list(itertools.zip_longest(recorded, generated))
    telling = [(golden, answer) for golden, answer in pairs if _differs_from_base(golden)]
    if telling and all(answer is None or _is_base_answer(golden, answer) for golden, answer in telling):
        return (
            f"on all {len(telling)} golden prompts where the adapter differs from its base the engine gave "
            "the base's answer: the adapter is not applied"
        )
    clear = [(golden, answer) for golden, answer in pairs if not _is_near_tie(golden)] or pairs
    agreeing = sum(answer is not None and same_answer(golden, answer) for golden, answer in clear)
    if agreeing < fewest_to_agree(len(clear)):
        return (
            f"the engine agrees with the trainer on {agreeing} of {len(clear)} golden prompts, "
            f"at least {REQUIRED_AGREEMENT} are needed: the version or the base is not what it was trained as"
        )
    return None


@dataclass(frozen=True, slots=True)
class BaseAnswer:
    """What the base has answered, as far as it was no near tie: tokens, or the text where they aren't told."""

    prompt: str
    token_ids: tuple[int, ...] | None
    text: str

    @classmethod
    def of(cls, prompt: str, generated: Generation) -> Self:
        """Keep of an answer what another batch or kernel would not turn."""
        tokens, margins = generated.token_ids, generated.margins
        if tokens is None or margins is None:
            return cls(prompt, tokens, generated.text)
        clear = itertools.takewhile(lambda pair: pair[1] >= COMFORTABLE_MARGIN, zip(tokens, margins, strict=False))
        return cls(prompt, tuple(token for token, _ in clear), generated.text)

    @property
    def is_telling(self) -> bool:
        """Whether another answer would mean anything."""
        return self.token_ids is None or bool(self.token_ids)

    def agrees_with(self, generated: Generation) -> bool:
        """Whether an answer begins as this one."""
        if self.token_ids is None or generated.token_ids is None:
            return self.text.strip() == generated.text.strip()
        return generated.token_ids[: len(self.token_ids)] == self.token_ids


def base_failure(pairs: Sequence[tuple[BaseAnswer, Generation]]) -> str | None:
    """Say how the base answers otherwise than before; None if it does not, or if nothing could be asked."""
    agreeing = sum(recorded.agrees_with(generated) for recorded, generated in pairs)
    if agreeing < fewest_to_agree(len(pairs)):
        return (
            f"with the adapter loaded the base answers {len(pairs) - agreeing} of {len(pairs)} fixed prompts otherwise "
            f"than without it: {_LEAK}"
        )
    return None


def telling_of_leaks(askable_prompts: Sequence[GoldenPrompt]) -> tuple[GoldenPrompt, ...]:
    """The golden prompts that tell the adapter from its base, few enough to be asked once more; none if too few."""
    telling = tuple(filter(_differs_from_base, askable_prompts))[:MOST_PROMPTS_OF_BASE]
    return telling if len(telling) >= FEWEST_PROMPTS_OF_BASE else ()


def leak_failure(pairs: Sequence[tuple[GoldenPrompt, Generation]]) -> str | None:
    """Say that the base has given the adapter's answer to each prompt that tells them apart; None if it has not."""
    if pairs and all(same_answer(golden, generated) for golden, generated in pairs):
        return (
            f"with the adapter loaded the base gives the adapter's answer to all {len(pairs)} golden prompts: {_LEAK}"
        )
    return None


def _is_near_tie(recorded: GoldenPrompt) -> bool:
    return recorded.margin is not None and recorded.margin < COMFORTABLE_MARGIN


def _differs_from_base(recorded: GoldenPrompt) -> bool:
    return recorded.base_answer is not None and recorded.answer.strip() != recorded.base_answer.strip()


def _is_base_answer(recorded: GoldenPrompt, generated: Generation) -> bool:
    return recorded.base_answer is not None and generated.text.strip() == recorded.base_answer.strip()
