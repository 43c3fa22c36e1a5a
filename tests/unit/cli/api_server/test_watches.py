"""Watches that bring what no watch should: nobody takes for new what is old."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli import objects
from tests.unit.cli.api_server.scripted import Answer, api_server, listed

from graft_cli.client import WatchedGraft, connect, watching

LINES = {
    "no JSON": "this is a page\n",
    "another event": '{"type": "ADDED"}\n',
    "no object": '{"type": "ADDED", "object": null}\n',
    "an object without a name": '{"type": "MODIFIED", "object": {"metadata": {}}}\n',
    "an error": '{"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}\n',
    "another error": '{"type": "ERROR", "object": "?"}\n',
}


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


@pytest.mark.parametrize("line", LINES.values(), ids=list(LINES))
def test_after_any_event_the_objects_are_listed_anew(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.05)
    served = [6]

    def script(_: str, path: str, __: Any) -> Answer:
        if "watch=" in path:
            time.sleep(0.05)
            return Answer(200, line)
        if "basemodels" in path:
            return listed()
        return listed(objects.adapter(status={"served_version": served[0]}).raw)

    with (
        api_server(script, tmp_path) as server,
        WatchedGraft(connect(kubeconfig=str(server.kubeconfig)), "team-a") as it,
    ):
        assert it.adapter("team-a", "support").status.served_version == 6
        served[0] = 5
        assert eventually(lambda: it.adapter("team-a", "support").status.served_version == 5)


def test_a_change_that_is_told_is_known(tmp_path: Path) -> None:
    raw = objects.adapter(status={"served_version": 5}).raw
    told = {**raw, "metadata": {**raw["metadata"], "resourceVersion": "2"}}

    def script(_: str, path: str, __: Any) -> Answer:
        if "watch=" in path and "loraadapters" in path:
            return Answer(200, json.dumps({"type": "MODIFIED", "object": told}) + "\n")
        return listed(*([] if "basemodels" in path else [objects.adapter().raw]))

    with (
        api_server(script, tmp_path) as server,
        WatchedGraft(connect(kubeconfig=str(server.kubeconfig)), "team-a") as it,
    ):
        assert eventually(lambda: it.adapter("team-a", "support").status.served_version == 5)
