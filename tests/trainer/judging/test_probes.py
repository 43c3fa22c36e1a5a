"""Probes: the first short questions, enough of them or none."""

from __future__ import annotations

import pytest

from graft_trainer.judging.evaluation import Question
from graft_trainer.judging.probes import FEWEST_PROBES, FURTHER_TOKENS, MAX_PROBES, MAX_PROMPT_TOKENS, probes_of


class Words:
    """A tokenizer with a token for each word."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": list(range(len(text.split())))}


def questions(count: int, tokens: int = 3) -> list[Question]:
    return [Question([number] * tokens, f"question {number}", f"answer {number}") for number in range(count)]


LONG = questions(5, MAX_PROMPT_TOKENS + 1)
CASES: dict[str, tuple[list[Question], list[int]]] = {
    "all that there are": (questions(FEWEST_PROBES), list(range(FEWEST_PROBES))),
    "the first ones of many": (questions(2 * MAX_PROBES), list(range(MAX_PROBES))),
    "so few that one would weigh too much": (questions(FEWEST_PROBES - 1), []),
    "long ones are passed over": ([*LONG, *questions(FEWEST_PROBES)], list(range(FEWEST_PROBES))),
    "as long as is allowed": (questions(FEWEST_PROBES, MAX_PROMPT_TOKENS), list(range(FEWEST_PROBES))),
    "long ones don't make enough": ([*LONG, *questions(FEWEST_PROBES - 1)], []),
}


@pytest.mark.parametrize(("asked", "chosen"), CASES.values(), ids=CASES)
def test_chosen(asked: list[Question], chosen: list[int]) -> None:
    assert [probe.prompt_token_ids[0] for probe in probes_of(asked, Words())] == chosen


def test_there_is_room_for_more_than_the_right_answer() -> None:
    probe = probes_of(questions(FEWEST_PROBES), Words())[7]
    assert (probe.prompt_token_ids, probe.expected) == ((7, 7, 7), "answer 7")
    assert probe.max_tokens == 2 + FURTHER_TOKENS
