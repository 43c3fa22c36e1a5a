"""One engine as these tests see it: their own in the local cluster, or any other that a URL names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

OWN_FOLDER = "graft-test-engine"
ANSWER_SECONDS = 120
"""Patience for an answer of an engine on a CPU, on a machine that does other things as well."""


class EngineNotForTestsError(Exception):
    """The engine that the variables name can't be tested. The message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Folders of adapters that this machine writes and the engine reads."""

    base: Path
    """The files of the engine's base, on this machine."""
    folder: Path
    """The adapters on this machine; there is room for more beside it."""
    seen_at: str
    """The same folder as the engine sees it."""

    @property
    def agent_folder(self) -> Path | None:
        """Where an agent on this machine may keep adapters; None where the engine does not see it at the same path."""
        return self.folder / "agent" if self.seen_at == str(self.folder) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A running engine: its API, and the files that it sees."""

    url: str
    model: str
    """Its own name for the base."""
    key: str = ""
    adapters: Adapters | None = None
    is_own: bool = False
    """Whether it was started for these tests, so that its arguments are known and it may be ended."""
    http: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(timeout=ANSWER_SECONDS, retries=False), repr=False
    )

    def post(self, path: str, body: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        """Call the API as somebody who knows its key."""
        return self.http.request("POST", f"{self.url}{path}", json=body, headers=self._headers())

    def ask_as_stranger(self, method: str, path: str, body: dict[str, Any] | None = None) -> int:
        """Call the API without its key; return the status."""
        return self.http.request(method, f"{self.url}{path}", json=body).status

    def load(self, name: str, adapter: str) -> urllib3.BaseHTTPResponse:
        """Load one of the adapters' folders under a name; skip the test where the engine sees none."""
        if self.adapters is None:
            pytest.skip("the engine sees no folder of this machine: set ENGINE_BASE and ENGINE_ADAPTERS")
        path = f"{self.adapters.seen_at}/{adapter}"
        return self.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    def unload(self, name: str) -> urllib3.BaseHTTPResponse:
        """Forget a name."""
        return self.post("/v1/unload_lora_adapter", {"lora_name": name})

    def unload_all(self) -> None:
        """Forget every adapter."""
        for name in set(self.models()) - {self.model}:
            self.unload(name)

    def complete(self, model: str, tokens: int = 8) -> urllib3.BaseHTTPResponse:
        """Ask for a greedy completion."""
        body = {"model": model, "prompt": "a person who is", "max_tokens": tokens, "temperature": 0}
        return self.post("/v1/completions", body)

    def begin(self, model: str, tokens: int) -> urllib3.BaseHTTPResponse:
        """Ask for a greedy completion of exactly so many tokens, which is read as it comes."""
        body = {"model": model, "prompt": "a person who is", "max_tokens": tokens, "ignore_eos": True, "stream": True}
        url = f"{self.url}/v1/completions"
        return self.http.request("POST", url, json=body, headers=self._headers(), preload_content=False)

    def text(self, model: str) -> str:
        """Return a greedy completion."""
        answer = self.complete(model)
        assert answer.status == 200, answer.data
        return str(answer.json()["choices"][0]["text"])

    def models(self) -> dict[str, dict[str, Any]]:
        """Return the models that the engine lists, by name."""
        answer = self.http.request("GET", f"{self.url}/v1/models", headers=self._headers())
        assert answer.status == 200, answer.data
        return {entry["id"]: entry for entry in answer.json()["data"]}

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def named_engine(environ: Mapping[str, str]) -> Engine | None:
    """The engine that the variables name, if they name one.

    | variable | meaning |
    |---|---|
    | ENGINE | its URL, without `/v1` |
    | ENGINE_KEY | the key of its API, if it has one |
    | ENGINE_BASE | folder of its base's files, on this machine |
    | ENGINE_ADAPTERS | folder that this machine may write and the engine reads |
    | ENGINE_ADAPTERS_THERE | the same folder as the engine sees it, if that is another path |

    Raises:
        EngineNotForTestsError: nobody answers there, or somebody uses it.
    """
    url, key = environ.get("ENGINE", "").rstrip("/").removesuffix("/v1"), environ.get("ENGINE_KEY", "")
    if not url:
        return None
    listing = Engine(url=url, model="", key=key)
    try:
        models = listing.models()
    except (urllib3.exceptions.HTTPError, AssertionError) as error:
        raise EngineNotForTestsError(f"ENGINE={url} does not list its models: {error}; check ENGINE_KEY") from error
    base, *others = sorted(models, key=lambda name: models[name].get("parent") is not None)
    if others:
        raise EngineNotForTestsError(
            f"ENGINE={url} has adapters loaded ({', '.join(others)}), and the tests unload what they find; "
            "name an engine that nobody uses"
        )
    return Engine(url=url, model=base, key=key, adapters=_named_adapters(environ))


def _named_adapters(environ: Mapping[str, str]) -> Adapters | None:
    base, folder = environ.get("ENGINE_BASE", ""), environ.get("ENGINE_ADAPTERS", "")
    if not base or not folder:
        return None
    if not (Path(base) / "config.json").is_file():
        raise EngineNotForTestsError(f"ENGINE_BASE={base} has no config.json; name the folder of the base's files")
    there = environ.get("ENGINE_ADAPTERS_THERE", "") or folder
    # One of its own, since what is in it is deleted.
    return Adapters(base=Path(base), folder=Path(folder) / OWN_FOLDER, seen_at=f"{there.rstrip('/')}/{OWN_FOLDER}")
