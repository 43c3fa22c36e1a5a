"""Files that go away while their name is registered: why the agent unloads first and deletes last."""

from __future__ import annotations

import shutil
import time

import pytest
import urllib3
from tests.engine.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_a_missing_folder_of_an_evicted_adapter_ends_the_engine(engine: Engine) -> None:
    """The engine reads an evicted adapter again from its path. Should it survive this, deletion may become simpler."""
    if not engine.is_own or engine.adapters is None:
        pytest.skip("this ends the engine, which is not the tests' own")
    for name in ("plain", "sibling", "stabilized", "patterned"):
        engine.load(name, name)
        engine.text(name)  # two are held in memory: the first ones are evicted
    hidden = engine.adapters.folder / "plain"
    shutil.move(hidden, engine.adapters.folder / "hidden")
    try:
        assert not survives(engine)
    finally:
        shutil.move(engine.adapters.folder / "hidden", hidden)


def survives(engine: Engine) -> bool:
    """Ask for the adapter whose files are gone; return whether the engine answers for the base afterwards."""
    try:
        engine.complete("plain")
        time.sleep(3)
        return engine.complete(engine.model).status == 200
    except urllib3.exceptions.HTTPError:
        return False
