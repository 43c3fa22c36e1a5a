"""The release, the models, and namespaces for the end-to-end tests; and what to look at when one fails."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from demo import release
from demo.bucket import Bucket
from demo.cluster import Cluster
from demo.environment import Environment, read_environment
from tests.e2e.diagnosis import diagnose
from tests.e2e.figures import Figures
from tests.e2e.serving import Serving
from tests.e2e.tenant import SOURCES, Tenant

ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    "test_life",
    "test_update",
    "test_plugin",
    "test_metrics",
    "test_canary",
    "test_merged",
    "test_refused_version",
    "test_placement",
    "test_hot_set",
    "test_import",
    "test_serving_pods",
    "test_base_bump",
    "test_held_base",
    "test_recovery",
    "test_adoption",
    "test_sources",
    "test_preparation",
    "test_image_source",
    "test_bad_input",
    "test_distributed",
    "test_latency",
    "test_deletion",
    "test_isolation",
    "test_strange_clusters",
    "test_gateway",
    "test_crds",
    "test_named_namespaces",
    "test_uninstall",
)
"""The first eleven share one base that is being served; the last takes the release away. By files, whose names differ
across rooms: a room says what its tests are about, not when they run."""
FIGURES = pytest.StashKey[Figures]()
TENANTS = pytest.StashKey[list[Tenant]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures(ROOT / "build" / "e2e-figures.json")
    config.stash[TENANTS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: position for position, name in enumerate(ORDER)}
    items.sort(key=lambda item: rank[item.path.stem] if item.get_closest_marker("e2e") else -1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    tenants = item.config.stash[TENANTS]
    if report.failed and tenants:
        report.sections.append(("The cluster", diagnose(tenants)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[FIGURES]
    if figures.values:
        terminalreporter.section("figures")
        terminalreporter.write_line(figures.table())
        terminalreporter.write_line(f"written to {figures.path}")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Measured figures, written to a file at once, and printed at the end."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def environment() -> Environment:
    """Return the facts of the cluster; kubectl of other tests uses them, too."""
    facts = read_environment()
    if facts.kubeconfig:
        os.environ["KUBECONFIG"] = facts.kubeconfig
    if facts.programs:
        os.environ["PATH"] = f"{facts.programs}:{os.environ['PATH']}"
    return facts


@pytest.fixture(scope="session", autouse=True)
def alone(environment: Environment) -> Iterator[None]:
    """Wait until no other run of these tests uses the cluster: they share namespaces and the release."""
    with (environment.cache / "e2e.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def cluster(environment: Environment, alone: None) -> Cluster:
    """Return the cluster, with the release of the current images."""
    cluster = Cluster.of(environment)
    release.install(cluster, environment)
    return cluster


@pytest.fixture(scope="session")
def models(environment: Environment) -> Path:
    """Return the folder of built bases and rows, which are in the bucket, too."""
    folder = environment.cache / "demo" / "e2e"
    command = [sys.executable, "-m", "demo.models.build", "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    bucket = Bucket(environment.storage)
    for name in ("base-v1", "base-v2", "data"):
        bucket.upload(folder / name, f"{SOURCES}/{name}")
    return folder


@pytest.fixture(scope="session")
def new_tenant(
    pytestconfig: pytest.Config, cluster: Cluster, environment: Environment, models: Path
) -> Iterator[Callable[[str], Tenant]]:
    """Return a function that opens a namespace of the given purpose; all are closed at the end."""
    opened = pytestconfig.stash[TENANTS]

    def open_tenant(purpose: str) -> Tenant:
        namespace = f"graft-e2e-{purpose}"
        tenant = Tenant(
            cluster=cluster, bucket=Bucket(environment.storage), namespace=namespace, environment=environment
        )
        tenant.open()
        opened.append(tenant)
        return tenant

    yield open_tenant
    with ThreadPoolExecutor() as closing:  # each waits for its pods, which takes as long for one as for all
        list(closing.map(Tenant.close, opened))
    opened.clear()


@pytest.fixture(scope="module")
def tenant(request: pytest.FixtureRequest, new_tenant: Callable[[str], Tenant]) -> Tenant:
    """Return a namespace for the tests of one module."""
    purpose = request.path.stem.removeprefix("test_").replace("_", "-")
    return new_tenant(purpose)


@pytest.fixture(scope="session")
def questions(models: Path) -> Callable[[str, int], list[str]]:
    """Return a function from rows' name and count to questions that no adapter was trained on."""

    def held_out(name: str, count: int) -> list[str]:
        lines = (models / "data" / f"{name}.eval.jsonl").read_text(encoding="utf-8").splitlines()[:count]
        return [json.loads(line)["messages"][0]["content"] for line in lines]

    return held_out


@pytest.fixture(scope="session")
def serving(new_tenant: Callable[[str], Tenant], questions: Callable[[str, int], list[str]]) -> Serving:
    """Return the one base that is served, on two replicas, for all tests that need answers."""
    asked = {name: questions(name, 40) for name in ("topic", "speech")}
    shared = Serving(tenant=new_tenant("serving"), questions=asked)
    shared.start()
    return shared
