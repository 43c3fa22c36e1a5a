"""Kueue beside the release of the end-to-end tests, whose cluster, models and namespaces these tests share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.cluster import Cluster
from tests.e2e.conftest import (
    alone,
    cluster,
    environment,
    figures,
    models,
    new_tenant,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_terminal_summary,
    tenant,
)
from tests.e2e.tenant import Tenant
from tests.kueue.queues import QUEUE, TRAINER_CPU, Kueue

__all__ = [
    "alone",
    "cluster",
    "environment",
    "figures",
    "models",
    "new_tenant",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
    "tenant",
]

HACK = Path(__file__).resolve().parents[2] / "hack"


def graft_cluster(*arguments: str) -> None:
    """Run the program that keeps the local cluster; what it did not manage is its own last line."""
    subprocess.run([sys.executable, "-m", "graft_cluster", *arguments], cwd=HACK, check=True)


@pytest.fixture(scope="session", autouse=True)
def kueue(cluster: Cluster) -> Iterator[Kueue]:
    """Install Kueue before any namespace is opened, so that it is there for as long as its finalizers are."""
    graft_cluster("kueue")
    try:
        yield Kueue(cluster=cluster, remove=lambda: graft_cluster("kueue", "--remove"))
    finally:
        graft_cluster("kueue", "--remove")


@pytest.fixture(scope="module", autouse=True)
def queues(tenant: Tenant, kueue: Kueue) -> None:
    """Open a queue with quota for one training at a time, and resolve a base, which needs no queue."""
    kueue.give(TRAINER_CPU)
    kueue.open(tenant, QUEUE)
    tenant.apply(tenant.base())
    tenant.wait_resolved()
