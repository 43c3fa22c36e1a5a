"""When the engine's answers prove that a version is applied, case by case."""

import itertools

import pytest

from graft_registry.documents import GoldenPrompt
from graft_serving.adapters.proof import (
    MOST_PROMPTS_OF_BASE,
    BaseAnswer,
    askable,
    base_failure,
    fewest_to_ask,
    leak_failure,
    proof_failure,
    telling_of_leaks,
)
from graft_serving.engine.client import Generation

ANSWER, BASE, OTHER = "red green", "blue", "grey"
IDS = {ANSWER: (1, 2, 0), BASE: (3, 0), OTHER: (4, 0)}
EOS = 0


def golden(answer: str = ANSWER, base_answer: str | None = BASE, margin: float | None = None) -> GoldenPrompt:
    return GoldenPrompt(
        prompt_token_ids=(7,),
        prompt="?",
        answer=answer,
        answer_token_ids=IDS[answer],
        base_answer=base_answer,
        margin=margin,
    )


NEAR_TIE, CLEAR = golden(margin=0.1), golden(margin=2.0)


def said(text: str, *, with_ids: bool = True, with_eos: bool = True) -> Generation:
    ids = IDS[text] if with_eos else IDS[text][:-1]
    return Generation(text=text, token_ids=ids if with_ids else None)


CASES: dict[str, tuple[list[GoldenPrompt], list[Generation], str | None]] = {
    "All answers agree.": ([golden()] * 4, [said(ANSWER)] * 4, None),
    "Three of four agree, the other one was rounded differently.": (
        [golden()] * 4,
        [said(ANSWER)] * 3 + [said(OTHER)],
        None,
    ),
    "All clear answers agree, and most near ties flipped.": (
        [CLEAR, NEAR_TIE, NEAR_TIE, NEAR_TIE],
        [said(ANSWER), said(OTHER), said(OTHER), said(OTHER)],
        None,
    ),
    "A near tie that agrees doesn't make up for a clear answer that doesn't.": (
        [CLEAR, NEAR_TIE, NEAR_TIE, NEAR_TIE],
        [said(OTHER), said(ANSWER), said(ANSWER), said(ANSWER)],
        "0 of 1 golden prompts",
    ),
    "Where all are near ties, they have to do.": ([NEAR_TIE] * 4, [said(OTHER)] * 4, "0 of 4 golden prompts"),
    "A near tie where the engine gives the base's answer still tells that the adapter is not applied.": (
        [NEAR_TIE] * 4,
        [said(BASE)] * 4,
        "not applied",
    ),
    "Two of four agree.": (
        [golden()] * 4,
        [said(ANSWER)] * 2 + [said(OTHER)] * 2,
        "agrees with the trainer on 2 of 4",
    ),
    "The engine always gives the base's answer.": ([golden()] * 4, [said(BASE)] * 4, "not applied"),
    "The adapter shows in one prompt only, and there the engine gives the base's answer.": (
        [golden(BASE), golden(BASE), golden(BASE), golden()],
        [said(BASE)] * 4,
        "not applied",
    ),
    "An adapter that never differs from its base is proven by agreement.": (
        [golden(BASE)] * 4,
        [said(BASE)] * 4,
        None,
    ),
    "The base's answers were not recorded.": ([golden(base_answer=None)] * 4, [said(ANSWER)] * 4, None),
    "The engine leaves out the end-of-sequence token.": ([golden()] * 4, [said(ANSWER, with_eos=False)] * 4, None),
    "The engine leaves out the only token of the answer.": (
        [GoldenPrompt(prompt_token_ids=(7,), prompt="?", answer="red", answer_token_ids=(1,), base_answer="blue")] * 4,
        [Generation(text="", token_ids=())] * 4,
        "0 of 4 golden prompts",
    ),
    "An answer of no token is not proven by just any.": (
        [GoldenPrompt(prompt_token_ids=(7,), prompt="?", answer="", answer_token_ids=(), base_answer="blue")] * 4,
        [Generation(text="bl", token_ids=(3,))] * 4,
        "0 of 4 golden prompts",
    ),
    "An answer of no token is proven by one that ends it.": (
        [GoldenPrompt(prompt_token_ids=(7,), prompt="?", answer="", answer_token_ids=(), base_answer="blue")] * 4,
        [Generation(text="", token_ids=(EOS,))] * 4,
        None,
    ),
    "The engine tells no token ids.": ([golden()] * 4, [said(ANSWER, with_ids=False)] * 4, None),
    "The engine tells no token ids and says something else.": (
        [golden()] * 4,
        [said(OTHER, with_ids=False)] * 4,
        "0 of 4",
    ),
    "The single golden prompt disagrees.": ([golden()], [said(OTHER)], "0 of 1"),
    "There are no golden prompts.": ([], [], None),
}


@pytest.mark.parametrize(("recorded", "generated", "expected"), CASES.values(), ids=CASES.keys())
def test_proof(recorded: list[GoldenPrompt], generated: list[Generation], expected: str | None) -> None:
    failure = proof_failure(recorded, generated)
    if expected is None:
        assert failure is None
    else:
        assert failure is not None
        assert expected in failure


GOLDEN_OF_ANY_KIND = (golden(), golden(BASE), CLEAR, NEAR_TIE)


@pytest.mark.parametrize("recorded", list(itertools.combinations_with_replacement(GOLDEN_OF_ANY_KIND, 4)))
def test_what_has_proven_a_version_before_all_were_asked_is_turned_by_no_later_answer(
    recorded: tuple[GoldenPrompt, ...],
) -> None:
    asked = askable(recorded, None)
    few = fewest_to_ask(asked)
    for generated in itertools.product([said(ANSWER), said(BASE), said(OTHER)], repeat=4):
        if proof_failure(asked, generated[:few]) is None:
            assert proof_failure(asked, generated) is None


@pytest.mark.parametrize(("recorded", "few"), [([golden()] * 8, 6), ([CLEAR] * 5 + [NEAR_TIE] * 3, 4), ([NEAR_TIE], 1)])
def test_so_few_answers_prove_a_version_if_all_of_them_are_right(recorded: list[GoldenPrompt], few: int) -> None:
    asked = askable(recorded[::-1], None)
    assert fewest_to_ask(asked) == few
    right = [said(prompt.answer) for prompt in asked]
    assert proof_failure(asked, right[:few]) is None
    assert proof_failure(asked, right[: few - 1]) is not None


def answered(tokens: tuple[int, ...], margins: tuple[float, ...] | None = None) -> Generation:
    return Generation(text=" ".join(map(str, tokens)), token_ids=tokens, margins=margins)


CLEAR_ANSWER = BaseAnswer.of("?", answered((1, 2, 3), (2.0, 2.0, 2.0)))
HALF_CLEAR_ANSWER = BaseAnswer.of("?", answered((1, 2, 3), (2.0, 0.1, 2.0)))
BASE_CASES: dict[str, tuple[list[tuple[BaseAnswer, Generation]], str | None]] = {
    "Nothing could be asked.": ([], None),
    "The base answers as before.": ([(CLEAR_ANSWER, answered((1, 2, 3)))] * 4, None),
    "One of four answers is another one.": (
        [(CLEAR_ANSWER, answered((1, 2, 3)))] * 3 + [(CLEAR_ANSWER, answered((5,)))],
        None,
    ),
    "Two of four are.": (
        [(CLEAR_ANSWER, answered((1, 2, 3)))] * 2 + [(CLEAR_ANSWER, answered((1, 2, 4)))] * 2,
        "the base answers 2 of 4 fixed prompts otherwise",
    ),
    "From a near tie on another answer means nothing.": ([(HALF_CLEAR_ANSWER, answered((1, 7, 7)))] * 4, None),
    "Before the near tie it does.": ([(HALF_CLEAR_ANSWER, answered((7, 7, 7)))] * 4, "4 of 4 fixed prompts"),
    "An engine that tells no tokens is judged by text.": (
        [(BaseAnswer("?", None, "red"), Generation(text=" red ", token_ids=None))],
        None,
    ),
    "And another text is another answer.": (
        [(BaseAnswer("?", None, "red"), Generation(text="blue", token_ids=None))],
        "1 of 1 fixed prompts",
    ),
}


@pytest.mark.parametrize("case", BASE_CASES)
def test_when_the_base_answers_otherwise_than_before(case: str) -> None:
    pairs, expected = BASE_CASES[case]
    failure = base_failure(pairs)
    assert failure is None if expected is None else expected in (failure or "")


def test_an_answer_that_begins_with_a_near_tie_tells_nothing() -> None:
    assert not BaseAnswer.of("?", answered((1, 2), (0.2, 2.0))).is_telling
    assert BaseAnswer.of("?", answered((1, 2), None)).is_telling


def test_a_single_golden_prompt_convicts_nobody_of_leaking() -> None:
    assert telling_of_leaks([golden(), golden(base_answer=ANSWER)]) == ()
    assert len(telling_of_leaks([golden()] * 8)) == MOST_PROMPTS_OF_BASE


@pytest.mark.parametrize(
    ("by_base", "leaks"), [([ANSWER, ANSWER], True), ([ANSWER, BASE], False), ([BASE, BASE], False), ([], False)]
)
def test_a_base_that_gives_the_adapter_s_answer_to_all_of_them_is_a_leak(by_base: list[str], *, leaks: bool) -> None:
    failure = leak_failure([(golden(), said(text)) for text in by_base])
    assert (failure is not None) == leaks
