"""Examples of Hypothesis have no deadline, and drawing them has none: how long they take says nothing of the code."""

from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
