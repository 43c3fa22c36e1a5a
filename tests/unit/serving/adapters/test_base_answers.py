"""Who may be in the engine with whom, and what of the base's answers outlives the agent."""

import asyncio
from pathlib import Path

import pytest

from graft_serving.adapters.base_answers import PROMPTS, SharedExclusiveLock
from graft_serving.adapters.proof import BaseAnswer
from graft_serving.adapters.saved_state import SavedState

ANSWERS = (BaseAnswer("?", (1, 2), "red"), BaseAnswer("!", None, "blue"))


class Rooms:
    """Tasks that are in at the same time, and the most that ever were."""

    def __init__(self) -> None:
        self.turns = SharedExclusiveLock()
        self.inside: list[str] = []
        self.seen: list[tuple[str, ...]] = []

    async def share(self, name: str) -> None:
        async with self.turns.shared():
            await self._be_in(name)

    async def be_alone(self, name: str) -> None:
        async with self.turns.exclusive():
            await self._be_in(name)

    async def _be_in(self, name: str) -> None:
        self.inside.append(name)
        self.seen.append(tuple(self.inside))
        await asyncio.sleep(0.01)
        self.inside.remove(name)


async def test_one_alone_waits_for_those_before_and_those_after_wait_for_it() -> None:
    rooms = Rooms()
    async with asyncio.TaskGroup() as tasks:
        for name in ("a", "b"):
            tasks.create_task(rooms.share(name))
        tasks.create_task(rooms.be_alone("c"))
        tasks.create_task(rooms.be_alone("d"))
        tasks.create_task(rooms.share("e"))
    assert rooms.seen[:3] == [("a",), ("a", "b"), ("c",)]
    assert set(rooms.seen[3:]) == {("d",), ("e",)}


async def test_one_that_is_cancelled_while_it_waits_keeps_nobody_out() -> None:
    rooms = Rooms()
    sharing = asyncio.create_task(rooms.share("a"))
    await asyncio.sleep(0)
    alone = asyncio.create_task(rooms.be_alone("b"))
    await asyncio.sleep(0)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    await sharing
    async with asyncio.timeout(60):
        await rooms.be_alone("c")
    assert rooms.seen == [("a",), ("c",)]


def test_the_base_s_answers_are_remembered_for_that_base_alone(tmp_path: Path) -> None:
    SavedState(tmp_path).save_base_answers("sha256:one", ANSWERS)
    assert SavedState(tmp_path).base_answers("sha256:one") == ANSWERS
    assert SavedState(tmp_path).base_answers("sha256:two") is None


@pytest.mark.parametrize("raw", [b"", b"{}", b'["sha256:one", [{"prompt": 1}]]', b"\xff"])
def test_a_memory_that_can_t_be_read_is_none(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "base-answers.json").write_bytes(raw)
    assert SavedState(tmp_path).base_answers("sha256:one") is None


def test_no_prompt_can_be_answered_from_a_prefix_that_was_calculated_before() -> None:
    assert all(len(prompt.split()) < 8 and len(prompt) < 40 for prompt in PROMPTS)
