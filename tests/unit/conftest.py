"""What holds for thousands of short tests in one process: no example is timed, and no garbage is looked for in vain."""

import gc

import pytest
from hypothesis import HealthCheck, settings

# How long examples of Hypothesis take, and drawing them, says nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# What the collection makes stays to the end, modules and tests: looking through it again and again is in vain.
gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.enable()
    gc.freeze()
