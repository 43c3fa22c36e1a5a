"""An object store, and the engine's image. Training is that of tests/trainer."""

from __future__ import annotations

import os

import pytest
from demo.environment import Environment, read_environment
from tests.trainer.conftest import PLAIN_ARITHMETIC, s3_endpoint, s3_server

__all__ = ["s3_endpoint", "s3_server"]

os.environ.update(PLAIN_ARITHMETIC)


@pytest.fixture(scope="session")
def environment() -> Environment:
    """The local cluster's Docker daemon and images; nothing else of the cluster is used."""
    return read_environment()
