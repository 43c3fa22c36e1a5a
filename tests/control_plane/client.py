"""A small client: raw paths, JSON in, JSON out, and watches that list again when they break."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp

Object = dict[str, Any]
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
LONGEST_LINE: Final = 2**24
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: its group and version, and its plural."""

    api: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of a collection, of an object, or of a part of it."""
        parts = ["/apis" if "/" in self.api else "/api", self.api]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


ADAPTERS: Final = Kind("graft.dev/v1alpha1", "loraadapters")
BASES: Final = Kind("graft.dev/v1alpha1", "basemodels")
JOBS: Final = Kind("batch/v1", "jobs")
PODS: Final = Kind("v1", "pods")
DEPLOYMENTS: Final = Kind("apps/v1", "deployments")
CONFIG_MAPS: Final = Kind("v1", "configmaps")
NAMESPACES: Final = Kind("v1", "namespaces")


class ApiError(Exception):
    """The server said no, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class ApiClient:
    """One connection pool to one server."""

    def __init__(self, url: str, token: str, *, impersonate: str = "", group: str = "system:masters") -> None:
        """``impersonate``: the user to act as, and his group: one with all rights."""
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        if impersonate:
            self._headers |= {"Impersonate-User": impersonate, "Impersonate-Group": group}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=60)
        connector = aiohttp.TCPConnector(ssl=False, limit=64)
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=timeout, connector=connector, read_bufsize=2**20
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def is_ready(self) -> bool:
        """Whether the server serves."""
        try:
            async with self._open.get(f"{self._url}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    async def request(
        self, method: str, path: str, *, query: dict[str, str] | None = None, body: Any = None, content_type: str = ""
    ) -> Object:
        """Send one request. Raises ApiError with the server's own message."""
        headers = {"Content-Type": content_type or "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        async with self._open.request(method, self._url + path, params=query, data=data, headers=headers) as response:
            text = await response.text()
        if response.status >= 400:
            raise ApiError(response.status, message_of(text))
        answer: Object = json.loads(text) if text.startswith("{") else {"text": text}
        return answer

    async def create(self, kind: Kind, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
        """Create an object, or see what would become of it."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return await self.request("POST", kind.path(namespace), query=query, body=body)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object; None where there is none."""
        try:
            return await self.request("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: Kind, namespace: str | None = None, labels: str = "") -> tuple[list[Object], str]:
        """Return the objects, read in pages, and the resourceVersion that they are of."""
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        found: list[Object] = []
        while True:
            page = await self.request("GET", kind.path(namespace), query=query)
            found += page.get("items") or ()
            if not (token := page["metadata"].get("continue")):
                return found, page["metadata"]["resourceVersion"]
            query["continue"] = token

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: Any, *, subresource: str = "", content_type: str = MERGE
    ) -> Object:
        """Patch an object or a part of it."""
        path = kind.path(namespace, name, subresource)
        return await self.request("PATCH", path, body=body, content_type=content_type)

    async def delete(self, kind: Kind, namespace: str, name: str, *, now: bool = False) -> None:
        """Delete an object, if it is there; ``now``: without a time of grace."""
        query = {"gracePeriodSeconds": "0"} if now else {}
        try:
            await self.request("DELETE", kind.path(namespace, name), query=query)
        except ApiError as error:
            if error.status != 404:
                raise

    async def ensure_namespace(self, name: str) -> None:
        """Create a namespace unless it is there."""
        try:
            await self.request("POST", NAMESPACES.path(), body={"metadata": {"name": name}})
        except ApiError as error:
            if error.status != 409:
                raise

    async def watch(
        self, kind: Kind, namespace: str | None = None, labels: str = ""
    ) -> AsyncGenerator[tuple[str, Object]]:
        """Yield what is there as ADDED, then every event, for ever; what went between two streams as DELETED, too."""
        known: dict[tuple[str, str], Object] = {}
        while True:
            try:
                found, version = await self.list(kind, namespace, labels)
                there = {_name(item): item for item in found}
                gone, known = [item for name, item in known.items() if name not in there], there
                for item in gone:
                    yield "DELETED", item
                for item in found:
                    yield "ADDED", item
                async with aclosing(self._stream(kind, namespace, labels, version)) as events:
                    async for event, item in events:
                        if event == "DELETED":
                            known.pop(_name(item), None)
                        else:
                            known[_name(item)] = item
                        yield event, item
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError):
                await asyncio.sleep(0.2)

    async def remove_everything(self, namespace: str) -> None:
        """Remove what the operator and its users make in a namespace, finalizers and all, while no operator runs."""
        for kind in (ADAPTERS, BASES, JOBS, DEPLOYMENTS, PODS, CONFIG_MAPS):
            for item in (await self.list(kind, namespace))[0]:
                name = item["metadata"]["name"]
                try:
                    if item["metadata"].get("finalizers"):
                        await self.patch(kind, namespace, name, {"metadata": {"finalizers": None}})
                    await self.delete(kind, namespace, name, now=True)
                except ApiError as error:
                    if error.status != 404:
                        raise

    async def _stream(
        self, kind: Kind, namespace: str | None, labels: str, version: str
    ) -> AsyncGenerator[tuple[str, Object]]:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query |= {"labelSelector": labels} if labels else {}
        forever = aiohttp.ClientTimeout(total=None)
        url = self._url + kind.path(namespace)
        async with (
            self._open.get(url, params=query, timeout=forever) as response,
            aclosing(lines_of(response.content)) as lines,
        ):
            async for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client as a context manager")
        return self._session


def _name(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


async def lines_of(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes]:
    """Yield the lines of a stream, however long one is; what is left at its end is no line.

    Raises ValueError where a line is longer than 16 MiB.
    """
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise ValueError("a line of the stream has no end")
        for line in lines:
            if line:
                yield line


async def until(condition: Callable[[], Awaitable[bool]], patience: float, every: float = 0.5) -> bool:
    """Ask until the answer is yes; tell whether it came within ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(every)
    return True


def message_of(text: str) -> str:
    """Return the message of an error answer: that of its Status object where it is one."""
    try:
        return str(json.loads(text).get("message", text))
    except (ValueError, AttributeError):
        return text
