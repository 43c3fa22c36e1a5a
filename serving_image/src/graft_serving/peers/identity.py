"""What a pod shows to the other pods of its base, and what it makes of what they show."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from graft_serving.cluster_api import ApiAccess
from graft_serving.peers.signing_keys import SigningKeys
from graft_serving.peers.tokens import PeerGroup, PublicKeys, TokenRefusedError, UnknownKeyError, verify

logger = logging.getLogger(__name__)

LEEWAY_SECONDS: Final = 60.0
"""By which the clocks of nodes may differ."""
LONGEST_OUTAGE_SECONDS: Final = 24 * 3600.0
"""For which tokens stay good that nobody can renew, since the API is away."""
MOST_ACCEPTED: Final = 1024
"""Tokens that are remembered. A pod has one at a time."""
_WARNING_SECONDS: Final = 60.0
"""Between two warnings about tokens: whoever sends wrong ones must not fill the log."""


class TokenFile:
    """This pod's own token. The kubelet replaces the file well before the token expires."""

    def __init__(self, path: Path) -> None:
        """Read the token from `path`, again whenever the file has changed."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token: str | None = None

    def read(self) -> str | None:
        """The token; None while there is none."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._token, self._seen = self._path.read_text("ascii").strip() or None, seen
        except (OSError, ValueError) as error:
            if self._seen is not None or self._token is None:
                logger.error("no other pod can know this one, since %s can't be read: %s", self._path, error)
            self._seen, self._token = None, None
        return self._token


class PeerIdentity:
    """A pod among the pods of its base."""

    def __init__(
        self, group: PeerGroup, keys: SigningKeys, own: TokenFile, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Verify the tokens of `group` by `keys`, and show `own`."""
        self._group = group
        self._keys = keys
        self._own = own
        self._clock = clock
        self._warned_at: float | None = None
        self._accepted: dict[str, float] = {}
        self._accepted_by: PublicKeys = {}

    @classmethod
    def composed(cls, group: PeerGroup | None, token_file: Path | None, api: ApiAccess | None) -> Self | None:
        """With the keys of this API, and the token in this file; None for a pod that has no others."""
        if group is None or token_file is None:
            return None
        assert api is not None, "tokens are verified by keys of the Kubernetes API"
        return cls(group, SigningKeys(api), TokenFile(token_file))

    async def run(self) -> None:
        """Keep the keys up to date, for ever."""
        await self._keys.run()

    def own_token(self) -> str | None:
        """What to show to others; None while there is nothing."""
        return self._own.read()

    async def why_refused(self, token: str | None) -> str | None:
        """Why this is no token of another pod of the base; None if it is one."""
        try:
            await self._verify(token)
        except TokenRefusedError as error:
            self._warn(error)
            return str(error)
        return None

    async def _verify(self, token: str | None) -> None:
        if not token:
            raise TokenRefusedError("there is none")
        try:
            self._verify_now(token)
        except UnknownKeyError:
            # The API server may sign with a new key since a moment ago.
            await self._keys.renewed()
            self._verify_now(token)

    def _verify_now(self, token: str) -> None:
        keys = self._keys.known
        if keys is not self._accepted_by or len(self._accepted) >= MOST_ACCEPTED:
            self._accepted, self._accepted_by = {}, keys
        # A signature takes a third of the time of a request, and a pod shows the same token for most of an hour.
        if self._accepted.get(token, 0.0) > time.time():
            return
        # While the API is away nobody gets a new token. That must not part pods which have known one another.
        outage = min(self._keys.overdue_seconds, LONGEST_OUTAGE_SECONDS)
        self._accepted[token] = verify(token, self._group, keys, leeway_seconds=LEEWAY_SECONDS + outage)

    def _warn(self, error: TokenRefusedError) -> None:
        now = self._clock()
        if self._warned_at is None or now - self._warned_at >= _WARNING_SECONDS:
            self._warned_at = now
            logger.warning("a request of no pod of this base was refused; its token: %s", error)
