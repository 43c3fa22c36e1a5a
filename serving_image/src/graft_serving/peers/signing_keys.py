"""The public keys with which the API server's tokens are verified, without asking it about each token."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

import aiohttp

from graft_serving.cluster_api import ApiAccess, pause_after
from graft_serving.peers.tokens import PublicKeys, public_keys

logger = logging.getLogger(__name__)

PATH: Final = "/openid/v1/jwks"
MEDIA_TYPE: Final = "application/jwk-set+json"
"""The API server answers no other one on this path."""
REFRESH_SECONDS: Final = 300.0
"""For as long a key that the API server has taken back is still believed. That the API is away has to be noticed before
tokens run out, of which a fifth of their time is left when the kubelet first tries to replace them."""
SHORTEST_SECONDS: Final = 10.0
"""Between two fetches that tokens have caused: anybody can make up names of keys."""
LONGEST_WAIT_SECONDS: Final = 2.0
"""Of a request for such a fetch."""
_FETCH_SECONDS: Final = 10.0


class SigningKeys:
    """The keys, as `run` has last fetched them; while the API can't be reached the last ones stay."""

    def __init__(self, access: ApiAccess, clock: Callable[[], float] = time.monotonic) -> None:
        """Know no key yet."""
        self._access = access
        self._clock = clock
        self.known: PublicKeys = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._is_fetching = False
        self._asked = asyncio.Event()
        self._tried = asyncio.Event()

    @property
    def overdue_seconds(self) -> float:
        """For how long the API has not been reached, beyond the pause between two fetches."""
        if self._fetched_at is None:
            return 0.0
        return max(0.0, self._clock() - self._fetched_at - REFRESH_SECONDS - _FETCH_SECONDS)

    async def run(self) -> None:
        """Fetch the keys for ever: now and then, and when `renewed` asks for it."""
        failures = 0
        async with self._access.session() as session:
            while True:
                self._begin()
                try:
                    self._take(await self._fetch(session))
                    failures = 0
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                    failures += 1
                    known = len(self.known)
                    logger.warning("%s of the API can't be read; tokens have %d known keys: %r", PATH, known, error)
                self._end()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_after(failures) if failures else REFRESH_SECONDS):
                        await self._asked.wait()

    async def renewed(self) -> None:
        """Return when the keys have been fetched again, or would not be for now."""
        recently = self._tried_at is not None and self._clock() - self._tried_at < SHORTEST_SECONDS
        if recently and not self._is_fetching:
            return
        tried = self._tried
        self._asked.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                await tried.wait()

    def _begin(self) -> None:
        self._asked.clear()
        self._tried_at, self._is_fetching = self._clock(), True

    def _end(self) -> None:
        # Whoever asked while it was under way has got what it wanted.
        self._asked.clear()
        self._is_fetching = False
        self._tried.set()
        self._tried = asyncio.Event()

    def _take(self, keys: PublicKeys) -> None:
        if keys.keys() != self.known.keys():
            logger.info("keys of ServiceAccount tokens read keys=%d", len(keys))
        self.known, self._fetched_at = keys, self._clock()

    async def _fetch(self, session: aiohttp.ClientSession) -> PublicKeys:
        async with session.get(
            self._access.url + PATH,
            headers=self._access.headers(MEDIA_TYPE),
            timeout=aiohttp.ClientTimeout(total=_FETCH_SECONDS),
            raise_for_status=True,
        ) as response:
            return public_keys(await response.read())
