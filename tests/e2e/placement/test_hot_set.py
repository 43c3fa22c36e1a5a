"""One more adapter than there are places: who is asked is loaded, and one that nobody asks for gives way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.cluster import Object, condition, holds
from demo.goals import answers_with, is_as_wanted
from tests.e2e.published import Publisher
from tests.e2e.serving import REPLICAS, Serving, assert_no_failures
from tests.e2e.tenant import ADAPTERS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
IDLE_SECONDS = 2
SEED = 8000
PATIENCE = 60.0


def is_absent(adapter: Object) -> bool:
    return bool(condition(adapter, "Ready").get("reason") == "NotResident")


def free_places(serving: Serving) -> int:
    """Return how many adapters the base could hold beside those that it has."""
    adapters = serving.tenant.cluster.list(ADAPTERS, serving.tenant.namespace)
    on_engine = [adapter for adapter in adapters if adapter["spec"]["serving"]["mode"] == "MultiAdapter"]
    served = [adapter for adapter in on_engine if adapter.get("status", {}).get("serving", {}).get("target")]
    places: int = serving.tenant.base()["spec"]["serving"]["maxLoadedAdapters"]
    return places - len(served)


def seldom(serving: Serving, name: str) -> Object:
    """Return an adapter on demand that serves its only version."""
    own = {"rollout": {"rollbackWindowSeconds": 0}, "residency": "OnDemand"}
    return serving.tenant.adapter(name, version=1, deletionPolicy="Delete", serving=own)


def wait_for_one_without_a_place(serving: Serving, names: list[str], *besides: str) -> str:
    """Wait until all of them are served but one, which is none of ``besides``; return its name."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        adapters = [serving.tenant.read(name) for name in names]
        absent = [name for name, adapter in zip(names, adapters, strict=True) if is_absent(adapter)]
        served = [name for name, adapter in zip(names, adapters, strict=True) if answers_with(1)(adapter)]
        if len(absent) == 1 and absent[0] not in besides and len(served) == len(names) - 1:
            return absent[0]
        time.sleep(0.5)
    raise AssertionError(f"{served} are served and {absent} have no place, of {names}")


def ask(serving: Serving, name: str) -> None:
    """Ask until the adapter answers: a request waits for it, but not for ever."""
    begun, statuses = time.monotonic(), []
    while True:
        [answer] = serving.client.ask(serving.url, {name: serving.sample[:1]})[name]
        statuses.append(answer.status)
        if answer.status == 200:
            break
        assert time.monotonic() - begun < PATIENCE, f"{name} answered {statuses}"
    assert set(statuses) <= {200, 503}
    assert answer.version == f"{name}@v1"


@pytest.fixture
def names(serving: Serving, models: Path) -> Iterator[list[str]]:
    """Adapters on demand, one more than there are places; afterwards the base is as it was."""
    tenant = serving.tenant
    tenant.apply(tenant.base(replicas=REPLICAS, onDemandIdleSeconds=IDLE_SECONDS), tenant.adapter("topic"))
    tenant.wait_settled("topic")
    publisher = Publisher.of(tenant, models, tenant.wait_resolved())
    made = [f"seldom-{number}" for number in range(free_places(serving) + 1)]
    for number, name in enumerate(made):
        publisher.publish(name, SEED + number, serving.sample[:3])
    tenant.apply(*(seldom(serving, name) for name in made))
    yield made
    tenant.cluster.kubectl("delete", ADAPTERS, *made, "-n", tenant.namespace, timeout=120)
    tenant.apply(tenant.base(replicas=REPLICAS))


def test_who_is_asked_takes_the_place_of_one_that_is_idle(serving: Serving, names: list[str]) -> None:
    absent = wait_for_one_without_a_place(serving, names)
    adapter = serving.tenant.read(absent)
    assert holds(adapter, "Stalled", "False")
    assert holds(adapter, "Reconciling", "False")
    assert is_as_wanted(adapter)
    with serving.load("topic", rate=4) as load:
        ask(serving, absent)
        other = wait_for_one_without_a_place(serving, names, absent)
        ask(serving, other)
        wait_for_one_without_a_place(serving, names, absent, other)
        report = load.finish()
    assert_no_failures(report, at_least=4)
    counts = serving.tenant.wait_for_base(
        lambda base: base["status"]["adapters"].get("notResident") == 1, "one adapter is not loaded", PATIENCE
    )["status"]["adapters"]
    assert counts["onDemand"] == len(names)
