"""The release, a Git server, one GitOps tool after the other, and for each a team that commits."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from demo import release
from demo.bucket import Bucket
from demo.cluster import Cluster
from demo.environment import Environment, read_environment
from tests.e2e.conftest import models
from tests.e2e.diagnosis import diagnose, logs, said
from tests.e2e.tenant import Tenant
from tests.gitops.repository import Repository
from tests.gitops.team import Team
from tests.gitops.tools import TOOLS, Tool

__all__ = ["models"]

ROOT = Path(__file__).resolve().parents[2]
NODE_PORT = 30080
TEAM = pytest.StashKey[Team]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    team = item.config.stash.get(TEAM, None)
    if report.failed and team is not None:
        tool = team.tool
        parts = [said(tool.cluster, "get", tool.follower, "-A", "-o", "yaml"), *logs(tool.cluster, tool.system)]
        report.sections.append(("The cluster", "\n".join([*parts, diagnose([team.tenant])])))
    return report


@pytest.fixture(scope="session")
def environment() -> Iterator[Environment]:
    """Return the facts of the cluster, once no other run of such tests uses it: they share the release."""
    facts = read_environment()
    with (facts.cache / "e2e.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield facts


@pytest.fixture(scope="session")
def cluster(environment: Environment) -> Iterator[Cluster]:
    """Return the cluster, with the release of the current images; it is taken away at the end."""
    cluster = Cluster.of(environment)
    release.install(cluster, environment)
    yield cluster
    release.uninstall(cluster)


@pytest.fixture(scope="session")
def git_server(environment: Environment, cluster: Cluster) -> Iterator[str]:
    """Start the Git server, with its repositories empty; return its address for this machine."""
    file = str(environment.cache / "gitops" / "git-server.yaml")
    cluster.kubectl("delete", "--ignore-not-found", "-f", file)
    cluster.kubectl("apply", "-f", file)
    cluster.kubectl("rollout", "status", "-n", "graft-git", "deployment/git", "--timeout=120s", timeout=130)
    [node, *_] = cluster.list("node", selector="node-role.kubernetes.io/control-plane")
    [address] = [item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP"]
    yield f"http://{address}:{NODE_PORT}/git"
    cluster.kubectl("delete", "--ignore-not-found", "-f", file)


@pytest.fixture(scope="module", params=list(TOOLS))
def tool(request: pytest.FixtureRequest, environment: Environment, cluster: Cluster) -> Iterator[Tool]:
    """Install one tool after the other; return it."""
    tool = TOOLS[request.param](cluster, environment.cache / "gitops")
    tool.uninstall()
    try:
        tool.install()
        yield tool
    finally:
        tool.uninstall()


@pytest.fixture(scope="module")
def team(
    pytestconfig: pytest.Config,
    tool: Tool,
    environment: Environment,
    models: Path,
    git_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Team]:
    """Return a team with an empty namespace and an empty stage, which the tool follows already."""
    bucket, namespace = Bucket(environment.storage), f"graft-gitops-{tool.name}"
    tenant = Tenant(cluster=tool.cluster, bucket=bucket, namespace=namespace, environment=environment)
    tenant.open()
    folder = tmp_path_factory.mktemp(tool.name) / "models"
    repository = Repository.start(folder, f"{git_server}/{tool.name}.git", namespace)
    tool.follow(f"http://git.graft-git.svc/git/{tool.name}.git", namespace)
    row = (models / "data" / "topic.eval.jsonl").read_text(encoding="utf-8").splitlines()[0]
    question = json.loads(row)["messages"][0]["content"]
    team = Team(tool=tool, tenant=tenant, repository=repository, question=question)
    pytestconfig.stash[TEAM] = team
    yield team
    del pytestconfig.stash[TEAM]
    tool.unfollow()
    tenant.close()
