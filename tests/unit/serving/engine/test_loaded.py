"""What is loaded, when lists and changes of our own overlap."""

import pytest

from graft_serving.engine.loaded import LoadedAdapters

A, B = {"a--v1": "/a"}, {"b--v1": "/b"}


def test_a_list_says_what_is_loaded() -> None:
    adapters = LoadedAdapters()
    adapters.begin_list()
    assert not adapters.has_lost_any(A | B)
    assert adapters.take(A | B, of_new_process=False)
    assert adapters.by_name == A | B
    adapters.begin_list()
    assert not adapters.take(A | B, of_new_process=False)


def test_what_is_gone_by_nobody_s_doing_is_lost() -> None:
    adapters = LoadedAdapters(A | B)
    adapters.begin_list()
    assert adapters.has_lost_any(A)


@pytest.mark.parametrize("ends_before_the_answer", [True, False])
def test_an_unload_that_a_list_overlaps_loses_nothing(*, ends_before_the_answer: bool) -> None:
    adapters = LoadedAdapters(A | B)
    unload = adapters.changing("a--v1")
    unload.__enter__()
    adapters.begin_list()
    if ends_before_the_answer:
        adapters.note_unloaded("a--v1")
        unload.__exit__(None, None, None)
    assert not adapters.has_lost_any(B)
    adapters.take(B, of_new_process=False)
    assert adapters.by_name == (B if ends_before_the_answer else A | B)


def test_a_load_that_begins_and_ends_within_a_list_is_not_lost_to_it() -> None:
    adapters = LoadedAdapters(A)
    adapters.begin_list()
    with adapters.changing("b--v1"):
        adapters.note_loaded("b--v1", "/b")
    assert not adapters.has_lost_any(A)
    assert not adapters.take(A, of_new_process=False)
    assert adapters.by_name == A | B


def test_a_list_is_as_good_as_any_for_the_names_that_nobody_changes_meanwhile() -> None:
    adapters = LoadedAdapters(A)
    with adapters.changing("b--v1"):
        adapters.begin_list()
        assert adapters.has_lost_any({})


def test_an_unload_that_ended_with_an_error_may_have_been_made_and_even_later() -> None:
    adapters = LoadedAdapters(A | B)
    with pytest.raises(TimeoutError), adapters.changing("a--v1"):
        raise TimeoutError
    for listed in (A | B, B):
        adapters.begin_list()
        assert not adapters.has_lost_any(listed)
        adapters.take(listed, of_new_process=False)
    assert adapters.by_name == B


def test_what_was_loaded_again_after_an_error_can_be_lost() -> None:
    adapters = LoadedAdapters(A)
    with pytest.raises(TimeoutError), adapters.changing("a--v1"):
        raise TimeoutError
    with adapters.changing("a--v1"):
        adapters.note_loaded("a--v1", "/a")
    adapters.begin_list()
    assert adapters.has_lost_any({})


def test_a_new_process_has_nothing_of_what_was_under_way_in_the_former_one() -> None:
    adapters = LoadedAdapters(A | B)
    unload = adapters.changing("a--v1")
    unload.__enter__()
    adapters.begin_list()
    assert adapters.has_lost_any({})
    assert adapters.take({}, of_new_process=True)
    error = ConnectionResetError()
    assert not unload.__exit__(ConnectionResetError, error, None)
    assert adapters.by_name == {}
    adapters.begin_list()
    assert not adapters.has_lost_any({}), "it is lost once only"
