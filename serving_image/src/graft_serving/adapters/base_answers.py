"""Whether the base still answers as it did before an adapter was loaded. An engine may let an adapter leak into it.

Mixtures of experts have done so: the adapter's slot was applied to requests of the base, too. Each adapter is then
proved, and the base's users get another model without a word.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from graft_registry.documents import GoldenPrompt
from graft_serving.adapters.asking import ProofPrompts, all_ended
from graft_serving.adapters.proof import (
    BaseAnswer,
    base_failure,
    fewest_to_agree,
    leak_failure,
    telling_of_leaks,
)
from graft_serving.adapters.saved_state import SavedState
from graft_serving.engine.client import Generation
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.errors import EngineRejectedError, EngineUnreachableError, RetryableError

logger = logging.getLogger(__name__)

Prompt = TypeVar("Prompt")

PROMPTS: Final = (
    "The capital of France is",
    "one, two, three, four,",
    "Monday, Tuesday, Wednesday,",
    "def add(a, b):\n    return",
)
"""Text that most models continue without a doubt. Each is shorter than a block of the engine's prefix cache (16 tokens
at least), so that no answer comes from what was calculated before the load."""
MOST_TOKENS: Final = 8
MOST_SHARED: Final = 128
"""Most bring-ups that hold a `SharedExclusiveLock` at once; far above what the engine is asked for at once."""


class SharedExclusiveLock:
    """A fair shared/exclusive lock: many hold it shared, or one holds it alone, in the order in which they came."""

    def __init__(self) -> None:
        """Begin unlocked."""
        self._door = asyncio.Lock()
        self._places = asyncio.Semaphore(MOST_SHARED)

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold the lock together with others."""
        async with self._door:
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock alone, once all that came before have released it."""
        async with self._door, contextlib.AsyncExitStack() as held:
            for _ in range(MOST_SHARED):
                await held.enter_async_context(self._places)
            yield


class BaseAnswers:
    """The base's own greedy answers to a few fixed prompts, recorded while the engine had no adapter yet."""

    def __init__(
        self, *, prompts: ProofPrompts, monitor: EngineMonitor, saved_state: SavedState, base_digest: str
    ) -> None:
        """Ask by `prompts`, and begin with the answers of the base `base_digest` that are in `saved_state`."""
        self._prompts = prompts
        self._monitor = monitor
        self._saved_state = saved_state
        self._base_digest = base_digest
        self._recorded: tuple[BaseAnswer, ...] | None = saved_state.base_answers(base_digest)
        self._recorded_at_start: int | None = None
        self._recording = asyncio.Lock()
        self._asks_for_margins = True
        """Until that has failed once. An engine may die of it, and must not do so at each of its starts."""

    async def record_if_due(self) -> None:
        """Record them before the first load of each start of the engine. What can't be recorded anew stays.

        Raises:
            EngineUnreachableError, RetryableError: try again once the engine answers.
        """
        async with self._recording:
            start = self._monitor.starts
            if self._recorded is not None and (self._recorded_at_start == start or self._monitor.loaded):
                return
            await self._record()
            self._recorded_at_start = start

    async def failure(self, golden: Sequence[GoldenPrompt]) -> str | None:
        """Say how the base answers otherwise than recorded, or as the adapter of `golden`; None if it does not.

        Raises:
            EngineUnreachableError, RetryableError: the engine did not answer, which tells nothing.
        """
        recorded = [answer for answer in self._recorded or () if answer.is_telling]
        telling = telling_of_leaks(golden)
        few = fewest_to_agree(len(recorded))
        of_recorded = await self._ask_recorded(recorded[:few])
        if len(of_recorded) < few or not all(answer.agrees_with(generated) for answer, generated in of_recorded):
            of_recorded += await self._ask_recorded(recorded[few:])
        if (failure := base_failure(of_recorded)) is not None:
            return failure
        of_golden = await self._ask_golden(telling[:1])
        # One answer that is not the adapter's acquits the base of all.
        if not of_golden or leak_failure(of_golden) is not None:
            of_golden += await self._ask_golden(telling[1:])
        return leak_failure(of_golden)

    async def change_by(
        self,
        golden: Sequence[GoldenPrompt],
        *,
        load: Callable[[], Awaitable[None]],
        unload: Callable[[], Awaitable[None]],
    ) -> str | None:
        """Say how the base's answers change with a load and back with its unload; None if they don't.

        Nothing else may be loaded meanwhile. Ends with the adapter loaded if it is none of its doing, else unloaded.

        Raises:
            EngineUnreachableError, RetryableError: the engine did not answer, or the base's answers came and went
                by themselves.
        """
        await unload()
        await self._record()
        await load()
        failure = await self.failure(golden)
        if failure is None:
            return None
        await unload()
        if await self.failure(golden) is not None:
            raise RetryableError("EngineBroken", f"{failure}; that did not end when the adapter was unloaded")
        return failure

    async def _record(self) -> None:
        with_margins = self._asks_for_margins
        try:
            asked = await all_ended(self._ask(prompt, MOST_TOKENS, with_margins=with_margins) for prompt in PROMPTS)
        except (EngineUnreachableError, RetryableError):
            self._asks_for_margins = False
            raise
        self._recorded = tuple(BaseAnswer.of(prompt, answer) for prompt, answer in _answered(PROMPTS, asked))
        self._saved_state.save_base_answers(self._base_digest, self._recorded)

    async def _ask_recorded(self, recorded: Sequence[BaseAnswer]) -> list[tuple[BaseAnswer, Generation]]:
        return _answered(recorded, await all_ended(self._ask(answer.prompt, MOST_TOKENS) for answer in recorded))

    async def _ask_golden(self, golden: Sequence[GoldenPrompt]) -> list[tuple[GoldenPrompt, Generation]]:
        questions = (self._ask(prompt.prompt_token_ids, max(1, len(prompt.answer_token_ids))) for prompt in golden)
        return _answered(golden, await all_ended(questions))

    async def _ask(self, prompt: str | Sequence[int], tokens: int, *, with_margins: bool = False) -> Generation | None:
        """The base's answer; None if the engine won't ever answer this."""
        base = self._monitor.base_model
        if base is None:
            raise EngineUnreachableError("the engine has not answered yet")
        try:
            return await self._prompts.generate(base, prompt, tokens, with_margins=with_margins)
        except EngineRejectedError as error:
            if with_margins and error.is_final:  # an engine may be told to give no log probabilities
                return await self._ask(prompt, tokens)
            if error.is_final:
                logger.info("the base is not asked %r: %s", prompt, error)
                return None
            self._monitor.suspect()
            raise RetryableError("EngineBroken", f"the base could not be asked for its own answers: {error}") from error


def _answered(prompts: Sequence[Prompt], answers: Sequence[Generation | None]) -> list[tuple[Prompt, Generation]]:
    return [(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True) if answer is not None]
