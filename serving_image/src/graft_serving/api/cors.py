"""Lets pages of other origins ask from a browser, where a setting allows it (the Fetch standard's CORS protocol)."""

from collections.abc import Collection
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

ANY: Final = "*"
_ALLOWED_FOR_SECONDS: Final = "600"
_EXPOSED: Final = "X-Graft-Version, X-Graft-Base, X-Request-Id, Retry-After"


def cors(origins: Collection[str]) -> Middleware:
    """A middleware that answers preflights, which carry no key, and marks answers, for pages of these origins.

    Cookies are never allowed: nobody here reads any. `*` stands for all origins.
    """

    def allows(origin: str | None) -> bool:
        return origin is not None and (ANY in origins or origin in origins)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if request.method == "OPTIONS" and allows(origin) and "Access-Control-Request-Method" in request.headers:
            return web.Response(
                status=204,
                headers={
                    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
                    "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ANY),
                    "Access-Control-Max-Age": _ALLOWED_FOR_SECONDS,
                },
            )
        return await handler(request)

    return answer


def marks(request: web.Request, origins: Collection[str]) -> dict[str, str]:
    """The headers of an answer to a page; none where its origin is not allowed."""
    origin = request.headers.get("Origin")
    if not origins or origin is None or not (ANY in origins or origin in origins):
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED, "Vary": "Origin"}
