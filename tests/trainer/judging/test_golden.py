"""Golden prompts: those that tell adapter and base apart, the surest first."""

from __future__ import annotations

import pytest

from graft_trainer.judging.evaluation import Answer, Comparison, Question, Scores
from graft_trainer.judging.golden import MAX_PROMPTS, MAX_TOKENS, golden_prompts


class Words:
    """A tokenizer whose token ids are their own words."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = False) -> str:
        return " ".join(map(str, token_ids))


def comparison(*answers: tuple[list[int], list[float], list[int]]) -> Comparison:
    """Build from (adapter's tokens, adapter's margins, base's tokens)."""

    def scores(all_tokens: list[list[int]], all_margins: list[list[float]]) -> Scores:
        return Scores(
            loss=1.0,
            exact_match=0.0,
            answers=[
                Answer(tokens, margins, " ".join(map(str, tokens)))
                for tokens, margins in zip(all_tokens, all_margins, strict=True)
            ],
        )

    return Comparison(
        questions=[Question([number], f"prompt {number}", "") for number in range(len(answers))],
        adapter=scores([answer[0] for answer in answers], [answer[1] for answer in answers]),
        base=scores([answer[2] for answer in answers], [[1.0] * len(answer[2]) for answer in answers]),
    )


def test_the_widest_margins_come_first() -> None:
    chosen = golden_prompts(comparison(([1], [0.5], [9]), ([2], [3.0], [9]), ([3], [1.0], [9])), Words())
    assert [golden.margin for golden in chosen] == [3.0, 1.0, 0.5]
    assert chosen[0].prompt_token_ids == (1,)
    assert (chosen[0].answer, chosen[0].base_answer) == ("2", "9")


def test_at_most_so_many_are_kept() -> None:
    many = [([number], [float(number)], [99]) for number in range(1, 2 * MAX_PROMPTS)]
    assert len(golden_prompts(comparison(*many), Words())) == MAX_PROMPTS


@pytest.mark.parametrize(
    ("adapter", "base"),
    [
        ([1, 2], [1, 2]),
        # The base goes on after the adapter's end, which a server that generates as much cannot see.
        ([1, 2], [1, 2, 3]),
        ([], [1]),
    ],
)
def test_answers_that_prove_nothing_are_left_out(adapter: list[int], base: list[int]) -> None:
    assert golden_prompts(comparison((adapter, [1.0] * (len(adapter) + 1), base)), Words()) == ()


def test_a_long_answer_is_cut_and_only_its_part_counts() -> None:
    tokens = list(range(MAX_TOKENS + 5))
    margins = [2.0] * MAX_TOKENS + [0.1] * 6
    (golden,) = golden_prompts(comparison((tokens, margins, [99] * 30)), Words())
    assert golden.answer_token_ids == tuple(range(MAX_TOKENS))
    assert golden.margin == 2.0
    assert golden.base_answer == " ".join(["99"] * MAX_TOKENS)
