"""Messages are told in full, or without their middle."""

import pytest

from graft_serving.errors import MOST_CHARACTERS, RefusedError, shortened


def test_a_message_of_any_length_keeps_its_beginning_and_its_advice() -> None:
    told = str(RefusedError("UnexpectedTensor", f"not a LoRA tensor: {'x' * 300_000}; train a new version"))
    assert len(told) == MOST_CHARACTERS
    assert told.startswith("not a LoRA tensor: xxx")
    assert told.endswith("; train a new version")


@pytest.mark.parametrize("text", ["", "rank 64 is above the 16 of the engine", "line\n\tline", "x" * MOST_CHARACTERS])
def test_what_is_short_is_told_as_it_is(text: str) -> None:
    assert shortened(text) == text


def test_what_no_terminal_should_get_is_left_out() -> None:
    assert shortened("a\x1b[2Jb\x00c\ud800d\r") == "a?[2Jb?c?d?"
