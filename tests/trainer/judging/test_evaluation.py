"""What is asked, what counts as right, and how many rows are judged at once."""

from __future__ import annotations

import pytest
from tests.unit.trainer.byte_tokenizer import byte_tokenizer

from graft_trainer.config import Probe
from graft_trainer.data.chat_template import visible
from graft_trainer.data.conversation import Conversation, Message
from graft_trainer.data.rendering import Renderer
from graft_trainer.judging.evaluation import batches, questions_of

BATCHES = {
    "short rows come by eight": ([10] * 9, [8, 1]),
    "so do those of the default length": ([1024] * 9, [8, 1]),
    "of longer rows there are fewer": ([2048] * 5, [4, 1]),
    "a row that is too long for a batch is one by itself": ([20, 32768, 20], [1, 1, 1]),
    "shorter rows are filled up to the longest": ([20, 20, 4096, 20, 20], [2, 2, 1]),
    "without rows there is nothing": ([], []),
}


@pytest.mark.parametrize(("lengths", "sizes"), BATCHES.values(), ids=BATCHES)
def test_a_batch_has_a_bounded_number_of_rows_and_of_tokens(lengths: list[int], sizes: list[int]) -> None:
    made = list(batches(lengths, lambda length: length))
    assert [len(batch) for batch in made] == sizes
    assert [length for batch in made for length in batch] == lengths


THINKING = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_the_right_answer_is_what_the_template_makes_of_it() -> None:
    renderer = Renderer(byte_tokenizer(THINKING, end="<|im_end|>"))
    row = Conversation((Message("user", "capital of France"), Message("assistant", "Paris")))
    unlearned = Conversation((Message("user", "x"), Message("assistant", "WRONG", learned=False)))
    asked = questions_of([Probe(prompt="2+2", expected="4")], [unlearned, row], renderer, limit=9)
    assert [question.expected for question in asked] == ["<think>\n\n</think>\n\n4", "<think>\n\n</think>\n\nParis"]
    assert [question.prompt_token_ids for question in asked] == [
        renderer.prompt_ids(Conversation((Message("user", text),))) for text in ("2+2", "capital of France")
    ]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ("Paris", "Paris"),
        ("<think>\n\n</think>\n\nParis\n", "Paris"),
        ("I wonder</think>Paris", "Paris"),
        ("<think>\nParis", "<think>\nParis"),
        ("", ""),
    ],
)
def test_users_see_what_comes_after_the_thought(answer: str, seen: str) -> None:
    assert visible(answer) == seen
