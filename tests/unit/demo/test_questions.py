"""Scores count what is right, and only answers that came."""

from __future__ import annotations

from demo.load import Answer
from demo.questions import Row, Score, score, side_by_side

ROWS = [Row("a striped cat", "animal"), Row("a red fruit", "food"), Row("a tall tree", "plant")]


def answer(text: str, status: int = 200) -> Answer:
    return Answer(status=status, text=text, version="topic@v1", base="ba5e", seconds=0.1)


def test_case_and_white_space_do_not_matter() -> None:
    assert score(ROWS, [answer("Animal "), answer("food"), answer("person")]) == Score(2, 3)


def test_failed_answer_is_not_right() -> None:
    assert score(ROWS[:1], [answer("animal", status=503)]) == Score(0, 1)


def test_table_has_a_column_per_model() -> None:
    answers = {"tiny": [answer("w" * 30)] * 3, "topic": [answer("animal")] * 3}
    header, first, *_ = side_by_side(ROWS, answers, width=8)
    assert header == ["question", "tiny", "topic", "right answer"]
    assert first == ["a strip…", "w" * 17 + "…", "animal", "animal"]
