"""What an agent answers to `GET /state` (docs/contracts.md §7), worked out from its wanted set (§6)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Version = tuple[str, int]
"""Name of the adapter, number of the version."""


@dataclass(slots=True)
class Agent:
    """One pod's agent, on an engine that proves a version after ``load_seconds``. For one event loop."""

    pod: str
    base_name: str
    base_digest: str
    load_seconds: float = 0.1
    requests_per_second: float = 50.0
    """Of each adapter, since its route came into force; never an error."""
    on_ready: Callable[[], None] = lambda: None
    wanted: Object | None = None
    wanted_digest: str | None = None
    routes: dict[str, list[Object]] = field(default_factory=dict)
    routed_at: dict[str, float] = field(default_factory=dict)
    proven_at: dict[Version, float] = field(default_factory=dict)
    """When each wanted version is, or will be, proven; on the clock of the event loop."""
    digests: dict[Version, str] = field(default_factory=dict)
    ready: bool = False
    generation: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take_over(self, text: str) -> None:
        """Apply a wanted set, as the ConfigMap's watch brings it. One of another base is refused, as agents do."""
        document = json.loads(text)
        if document["base"]["digest"] != self.base_digest:
            return
        self.wanted, self.wanted_digest = document, f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        now = asyncio.get_running_loop().time()
        wanted = {key: digest for entry in document["adapters"] for key, digest in self._versions_here(entry)}
        kept = {key: at for key, at in self.proven_at.items() if self.digests.get(key) == wanted.get(key)}
        fresh = wanted.keys() - kept.keys()
        self.proven_at = kept | dict.fromkeys(fresh, now + self.load_seconds)
        self.digests = wanted
        if fresh:
            asyncio.get_running_loop().call_later(self.load_seconds + 0.001, self._advance)
        self._advance()

    @property
    def revision(self) -> str:
        """Changes with everything but counters."""
        return f"{self.generation}-{self.pod[-5:]}"

    async def wait_for_news(self, since: str, seconds: float) -> None:
        """Return when the revision is another one, or after ``seconds``."""
        deadline = asyncio.get_running_loop().time() + seconds
        while since == self.revision:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                return

    def body(self) -> bytes:
        """Return the document as JSON."""
        return json.dumps(self.state()).encode()

    def state(self) -> Object:
        """Return the document."""
        entries = self.wanted["adapters"] if self.wanted else ()
        return {
            "schema": "graft.dev/agent/v1",
            "pod": self.pod,
            "revision": self.revision,
            "wantedDigest": self.wanted_digest,
            "base": {"name": self.base_name, "digest": self.base_digest},
            "engine": {"state": "Ready", "starts": 1, "message": ""},
            "ready": self.ready,
            "adapters": [self._adapter(entry) for entry in entries],
        }

    def active(self, adapter: str) -> list[Object]:
        """Return what answers requests for the adapter here."""
        return [share for share in self.routes.get(adapter, []) if self._is_proven((adapter, share["number"]))]

    def _versions_here(self, entry: Object) -> list[tuple[Version, str]]:
        if "pods" in entry and self.pod not in entry["pods"]:
            return []
        return [((entry["name"], item["number"]), item["manifestDigest"]) for item in entry["versions"]]

    def _advance(self) -> None:
        entries = {entry["name"]: entry for entry in self.wanted["adapters"]} if self.wanted else {}
        for name, entry in entries.items():
            here = {number for (adapter, number) in self.proven_at if adapter == name}
            route = [share for share in entry["route"] if share["number"] in here]
            if all(self._is_proven((name, share["number"])) for share in route) and route != self.routes.get(name):
                self.routes[name] = route
                self.routed_at[name] = time.monotonic()
        self.routes = {name: route for name, route in self.routes.items() if name in entries}
        was_ready = self.ready
        self.ready = self.ready or (self.wanted is not None and all(map(self._is_proven, self.proven_at)))
        self.generation += 1
        self._news.set()
        self._news.clear()
        if self.ready and not was_ready:
            self.on_ready()

    def _is_proven(self, version: Version) -> bool:
        return self.proven_at.get(version, float("inf")) <= asyncio.get_running_loop().time()

    def _adapter(self, entry: Object) -> Object:
        name = entry["name"]
        versions = [self._version(key, digest, entry) for key, digest in self._versions_here(entry)]
        return {"name": name, "active": self.active(name), "versions": versions, "lastAsked": None}

    def _version(self, key: Version, digest: str, entry: Object) -> Object:
        name, number = key
        proven = self._is_proven(key)
        weight = next((share["weight"] for share in self.routes.get(name, ()) if share["number"] == number), 0)
        age = time.monotonic() - self.routed_at.get(name, time.monotonic())
        count = int(age * self.requests_per_second * weight / 100)
        scored = {"of": self._probes_of(entry), "total": 0, "asked": 0, "right": 0} if "scoring" in entry else None
        return {
            "number": number,
            "manifestDigest": digest,
            "engineName": f"{name}--v{number}-{digest[7:15]}",
            "state": "Proven" if proven else "Loading",
            "reason": "",
            "message": "",
            "inflight": 0,
            "requests": count,
            "errors": 0,
            "loadSeconds": self.load_seconds if proven else None,
            "measured": {"requests": count, "errors": 0, "latency": {"-20": count} if count else {}},
            "probes": scored,
        }

    def _probes_of(self, entry: Object) -> str:
        return self.digests.get((entry["name"], entry["scoring"]["candidate"]), "sha256:" + "0" * 64)


HOSTILE_BYTES = 3_700_000
"""Below the four mebibytes that the operator used to read of one pod."""


@dataclass(slots=True)
class HostileAgent:
    """A pod that looks like a serving pod and answers to do harm: always with news, with megabytes, or drop by drop."""

    pod: str
    base_digest: str
    manner: str
    """``news``, ``bulk`` or ``drip``."""
    asked: int = 0

    async def wait_for_news(self, since: str, seconds: float) -> None:
        """There always are news."""

    def body(self) -> bytes:
        """Return a legal document with a new revision; ``bulk``: with thousands of adapters that nobody knows."""
        self.asked += 1
        versions = [{"number": n, "manifestDigest": "sha256:" + "a" * 64, "state": "Loading"} for n in range(1, 11)]
        count = HOSTILE_BYTES // 1250 if self.manner == "bulk" else 1
        document = {
            "schema": "graft.dev/agent/v1",
            "pod": self.pod,
            "revision": f"{self.asked}-{time.monotonic_ns()}",
            "wantedDigest": None,
            "base": {"name": "none", "digest": self.base_digest},
            "engine": {"state": "Ready", "starts": self.asked, "message": "x" * 1000},
            "ready": True,
            "adapters": [
                {"name": f"nobody-knows-{n:06d}", "active": [], "versions": versions, "lastAsked": None}
                for n in range(count)
            ],
        }
        return json.dumps(document).encode()
