"""An operator that works in named namespaces only: what befalls one of them is no matter to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from demo import release
from demo.cluster import Cluster, condition
from demo.environment import Environment
from tests.e2e.tenant import BASE, BASES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
UNSERVED = {"mode": "None"}


@pytest.fixture(scope="module")
def tenants(new_tenant: Callable[[str], Tenant]) -> list[Tenant]:
    return [new_tenant("named"), new_tenant("neighbour")]


@pytest.fixture(scope="module", autouse=True)
def named(cluster: Cluster, environment: Environment, tenants: list[Tenant]) -> Iterator[Callable[[], None]]:
    """Have the release work in the tenants' namespaces alone; return what installs it so again."""

    def install() -> None:
        release.install(cluster, environment, watchNamespaces=[tenant.namespace for tenant in tenants])

    install()
    yield install
    release.install(cluster, environment)


def restarts(cluster: Cluster) -> int:
    """Return how often the operator's container was started again."""
    (pod,) = cluster.list("pod", release.NAMESPACE, "app.kubernetes.io/component=operator")
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def test_what_befalls_one_namespace_is_no_matter_to_another(
    cluster: Cluster, named: Callable[[], None], tenants: list[Tenant]
) -> None:
    own, neighbour = tenants
    for tenant in tenants:
        tenant.apply(tenant.base())
        tenant.wait_resolved()
    # The namespace goes with everything in it, our Role there included, and nobody helps it.
    cluster.delete("namespace", neighbour.namespace, "", "--timeout=240s")
    own.apply(own.adapter("topic", serving=UNSERVED))
    own.wait_settled("topic")
    neighbour.open()
    neighbour.apply(neighbour.base())
    neighbour.wait_for_base(
        # A watch that is open goes on without its Role, so it is a write that is refused, or the next listing.
        lambda base: "forbidden" in condition(base, "Ready").get("message", ""),
        "saying what the operator may not do there",
        120,
    )
    own.apply(own.adapter("topic", serving=UNSERVED, lora={"rank": 4, "targetModules": ["all-linear"]}))
    own.wait_settled("topic")
    assert restarts(cluster) == 0
    named()
    neighbour.wait_resolved()


def test_a_base_goes_with_its_namespace(cluster: Cluster, tenants: list[Tenant]) -> None:
    _, neighbour = tenants
    assert cluster.get(BASES, BASE, neighbour.namespace) is not None
    cluster.delete("namespace", neighbour.namespace, "", "--timeout=240s")
    assert cluster.get("namespace", neighbour.namespace) is None
