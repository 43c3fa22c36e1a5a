"""Who may ask: clients by a key, where the base has any, and other pods of the base by their token, always."""

import hashlib
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from graft_serving.api import engine_signals
from graft_serving.api.api_keys import ApiKeys
from graft_serving.api.errors import error_response
from graft_serving.peers.identity import PeerIdentity
from graft_serving.proxy import headers
from graft_serving.telemetry.metrics import Metrics

CLIENT: Final = web.RequestKey("client", str)
"""A name for whoever asks, in every request that is let through."""
IS_POD: Final = web.RequestKey("is_pod", bool)
"""Whether another pod of the base has sent it on."""
_WAY: Final = {"WWW-Authenticate": "Bearer"}


class Authentication:
    """Lets requests through, or answers 401."""

    def __init__(self, *, keys: ApiKeys | None, peers: PeerIdentity | None, metrics: Metrics) -> None:
        """Without `keys` every client may ask. Without `peers` no other pod may."""
        self._keys = keys
        self._peers = peers
        self._metrics = metrics

    @web.middleware
    async def of_clients(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let clients through, and what other pods have sent to the Service."""
        is_pod = request[IS_POD] = headers.PEER in request.headers and await self._why_no_peer(request) is None
        # A client's key stays with the pod that it was sent to, so other pods have none to show.
        client = request.headers.get(headers.CLIENT, "") if is_pod else self._client_of(request)
        if client is None and not _is_open(request):
            return self._refuse(
                "invalid_api_key",
                "Send one of this service's API keys in the header Authorization: Bearer <key>, or in X-Api-Key.",
            )
        request[CLIENT] = client or ""
        return await handler(request)

    @web.middleware
    async def of_peers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let other pods of the base through, whatever they ask for, and nobody else."""
        if (problem := await self._why_no_peer(request)) is not None:
            return self._refuse(
                "invalid_peer_token",
                f"This port is for other pods of the base, which show their token in {headers.PEER}: {problem}. "
                "Use the Service.",
            )
        request[CLIENT] = request.headers.get(headers.CLIENT, "")
        request[IS_POD] = True
        return await handler(request)

    def _client_of(self, request: web.Request) -> str | None:
        """A name for whoever asks; None where it takes a key and there is none."""
        if self._keys is None:
            return hashlib.sha256((request.remote or "").encode()).hexdigest()[:16]
        return self._keys.client_of(request.headers)

    async def _why_no_peer(self, request: web.Request) -> str | None:
        if self._peers is None:
            return "this pod knows no others"
        return await self._peers.why_refused(request.headers.get(headers.PEER))

    def _refuse(self, code: str, message: str) -> web.Response:
        self._metrics.rejected(code)
        return error_response(401, code, message, headers=_WAY)


def _is_open(request: web.Request) -> bool:
    """Whether this needs no key. What load balancers ask tells nothing that a connection doesn't."""
    # Pickers know no key. They ask the pod itself, and what comes in through a Gateway from outside is no picker.
    of_picker = request.path == engine_signals.PATH and not headers.came_through_proxy(request.headers)
    return of_picker or request.path in ("/", "/health")
