"""State documents as an agent writes them, as deltas from one that is all right."""

from __future__ import annotations

import json
from typing import Any

POD = "serving-0"


def version(number: int = 7, **fields: Any) -> dict[str, Any]:
    told = {
        "number": number,
        "manifestDigest": "sha256:" + "c" * 64,
        "engineName": f"support--v{number}-cccccccc",
        "state": "Proven",
        "reason": "",
        "message": "",
        "inflight": 0,
        "requests": 10,
        "errors": 0,
        "loadSeconds": 0.2,
        "measured": {"requests": 10, "errors": 0, "latency": {"-27": 8, "-26": 2}},
        "probes": None,
    }
    return told | fields


def adapter(name: str = "support", **fields: Any) -> dict[str, Any]:
    told = {
        "name": name,
        "active": [{"number": 7, "weight": 100}],
        "versions": [version()],
        "lastAsked": "2026-01-01T00:00:00Z",
    }
    return told | fields


def state(*adapters: dict[str, Any], **fields: Any) -> dict[str, Any]:
    told = {
        "schema": "graft.dev/agent/v1",
        "pod": POD,
        "revision": "a-1",
        "wantedDigest": "sha256:" + "a" * 64,
        "message": "",
        "base": {"name": "tiny", "digest": "sha256:" + "b" * 64},
        "engine": {"state": "Ready", "starts": 1, "message": ""},
        "ready": True,
        "adapters": list(adapters),
    }
    return told | fields


def text(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()
