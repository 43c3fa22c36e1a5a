"""Every async test here runs on looptime's loop: sleeps cost no real time, and loop time is exact."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "controller_runtime" in item.path.parts:
            item.add_marker(pytest.mark.looptime(start=0))
