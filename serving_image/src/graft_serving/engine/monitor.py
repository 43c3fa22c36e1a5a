"""Follows one engine through its starts and crashes, and knows at any moment which adapters it has loaded."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal

from graft_serving.engine.activity import ClientActivity
from graft_serving.engine.client import EngineClient
from graft_serving.engine.loaded import LoadedAdapters
from graft_serving.errors import AgentError, EngineRejectedError, EngineTimeoutError, EngineUnreachableError

logger = logging.getLogger(__name__)

EngineStateName = Literal["Starting", "Ready", "Down"]

SLOW_POLLS_UNTIL_DOWN = 3
"""A busy engine may miss a poll; a refused connection needs no second look."""
POLL_SECONDS_WHILE_DOWN = 0.2
SHORTEST_POLL_SECONDS = 0.05
"""Lower bound between polls when failing requests ask for them in a burst."""
SECONDS_BETWEEN_CONFIRMATIONS = 1.0
"""A generation of the base's costs its users little, but not nothing: requests that fail again and again get one each
second."""
SIGN_OF_LIFE_SECONDS = 15.0
"""An engine that has given a client anything within this time is busy, not gone, however slow its list of models is."""
SURVIVAL_SECONDS = 5.0
"""How long an engine that has lost a request may take to answer another one."""
FIRST_PROMPT = (1,)


class EngineMonitor:
    """Polls the engine's model list, and loads and unloads on behalf of the lifecycle.

    The engine is Ready once its base has generated a token: health checks of engines are green before that works, and
    still after the core has died behind them.
    """

    def __init__(self, client: EngineClient, *, poll_seconds: float, on_change: Callable[[], None]) -> None:
        """Watch through `client`; call `on_change` when state or loaded adapters changed on the engine's side."""
        self._client = client
        self._poll_seconds = poll_seconds
        self._on_change = on_change
        self._poke = asyncio.Event()
        self._ready = asyncio.Event()
        self._slow_polls = 0
        self._is_doubted = False
        self._is_suspected = False
        self._confirmed_at = float("-inf")
        self.state: EngineStateName = "Starting"
        self.message = "the engine has not answered yet"
        self.starts = 0
        self.base_model: str | None = None
        self.max_model_length: int | None = None
        """Tokens of prompt and answer together, as the engine tells it."""
        self.adapters = LoadedAdapters()
        self.clients = ClientActivity()
        """Whoever sends a client's request to the engine tells of it here."""

    @property
    def loaded(self) -> Mapping[str, str]:
        """Name → path of every loaded adapter."""
        return self.adapters.by_name

    @property
    def is_ready(self) -> bool:
        """Whether the engine answers generations."""
        return self.state == "Ready" and not self._is_doubted

    def was_started_since(self, start: int | None) -> bool:
        """Whether the engine has come up after this start of it; None for one that never was."""
        return start is not None and self.starts > start

    async def wait_until_ready(self) -> None:
        """Return once the engine answers generations."""
        await self._ready.wait()

    def suspect(self) -> None:
        """Have the engine looked at right now, because a request of somebody else failed on it."""
        self._is_suspected = True
        self._poke.set()

    def doubt(self) -> None:
        """Take the engine, which has said that it is dying, for dead until it has generated a token."""
        was_ready, self._is_doubted = self.is_ready, True
        self._ready.clear()
        self.suspect()
        if was_ready:
            # At once, and not at the next poll: each request until then would be lost as well.
            self._on_change()

    async def survives(self) -> bool:
        """Whether the engine generates a token for its base now, soon."""
        try:
            async with asyncio.timeout(SURVIVAL_SECONDS):
                await self.confirm()
        except (AgentError, TimeoutError):
            return False
        return True

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            await self._poll()
            await asyncio.sleep(SHORTEST_POLL_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds if self.is_ready else POLL_SECONDS_WHILE_DOWN):
                    await self._poke.wait()
            self._poke.clear()

    async def load(self, name: str, path: str) -> None:
        """Load an adapter; success also if the engine has this very path under this name already.

        Raises:
            EngineUnreachableError: try again once the engine is ready.
            EngineRejectedError: the engine's verdict on the adapter.
        """
        with self.adapters.changing(name):
            try:
                await self._client.load(name, path)
            except EngineRejectedError as error:
                if error.status != 400:
                    raise
                loaded = (await self._client.models()).adapters
                if name not in loaded:
                    raise
                if loaded[name] != path:
                    await self._client.unload(name)
                    await self._client.load(name, path)
            self.adapters.note_loaded(name, path)

    async def unload(self, name: str) -> None:
        """Unload an adapter; success also if the engine doesn't know it.

        Raises:
            EngineUnreachableError: try again once the engine is ready.
            EngineRejectedError: the engine would not.
        """
        with self.adapters.changing(name):
            await self._client.unload(name)
            self.adapters.note_unloaded(name)

    async def confirm(self) -> None:
        """Let the base generate a token.

        Raises:
            EngineUnreachableError, EngineRejectedError: the engine itself is broken, not what was asked of it.
        """
        if self.base_model is None:
            raise EngineUnreachableError("the engine has not answered yet")
        await self._client.generate(self.base_model, FIRST_PROMPT, 1)
        self._confirmed_at = time.monotonic()

    async def _poll(self) -> None:
        self.adapters.begin_list()
        try:
            models = await self._client.models()
            self.base_model, self.max_model_length = models.base, models.max_model_length
            if self._needs_confirmation():
                self._is_suspected = False
                await self.confirm()
        except EngineTimeoutError as error:
            self._slow_polls += 1
            is_busy = self.clients.seconds_silent < SIGN_OF_LIFE_SECONDS
            if not self.is_ready or (self._slow_polls >= SLOW_POLLS_UNTIL_DOWN and not is_busy):
                self._set_down(str(error))
            return
        except (EngineUnreachableError, EngineRejectedError) as error:
            self._set_down(str(error))
            return
        self._slow_polls = 0
        self._set_ready(models.adapters)

    def _needs_confirmation(self) -> bool:
        if not self.is_ready:
            return True
        return self._is_suspected and time.monotonic() - self._confirmed_at >= SECONDS_BETWEEN_CONFIRMATIONS

    def _set_ready(self, listed: Mapping[str, str]) -> None:
        came_up = self.state != "Ready" or self.adapters.has_lost_any(listed)
        changed = self.adapters.take(listed, of_new_process=came_up)
        was_doubted, self._is_doubted = self._is_doubted, False
        if came_up:
            self.state, self.message = "Ready", ""
            self.starts += 1
            logger.info("engine ready base_model=%s starts=%d", self.base_model, self.starts)
        self._ready.set()
        if came_up or changed or was_doubted:
            self._on_change()

    def _set_down(self, message: str) -> None:
        self.message = message
        self._is_doubted = False
        if self.state == "Ready":
            self.state = "Down"
            self._ready.clear()
            logger.warning("engine down: %s", message)
            self._on_change()
