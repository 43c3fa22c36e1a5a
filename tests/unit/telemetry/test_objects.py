"""What Prometheus is told of objects: what they say, and nothing of one that is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import NOW
from tests.exported_series import VERSION, base, busy_adapter, condition, objects_page, pod

from graft_operator.cluster.cache import Cache
from graft_operator.cluster.resources import LORA_ADAPTERS
from graft_operator.telemetry.objects.families import SERVED_VERSION
from graft_operator.telemetry.objects.gpu_time import is_gpu
from graft_operator.telemetry.objects.page import Known, ObjectMetrics

OF_SUPPORT = {"namespace": "team-a", "base": "tiny", "adapter": "support"}


def value(page: str, name: str, **labels: str) -> float | None:
    """Return the value of the one series with these labels, None where there is none."""
    samples = [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(samples) <= 1, samples
    return samples[0].value if samples else None


def of_support(page: str, name: str, **labels: str) -> float | None:
    return value(page, name, **OF_SUPPORT, **labels)


def test_an_adapter_tells_its_conditions_versions_training_and_canary() -> None:
    page = objects_page(adapters=(busy_adapter(),))
    assert of_support(page, "graft_adapter_condition", type="Ready", status="True", reason="Serving") == 1
    assert of_support(page, "graft_adapter_served_version") == 7
    assert of_support(page, "graft_adapter_target_version") == 8
    assert of_support(page, "graft_adapter_eval_loss", version="v7") == 1.3
    assert of_support(page, "graft_adapter_base_eval_loss", version="v7") == 4.364
    assert of_support(page, "graft_adapter_version_train_tokens", version="v7") == 120_000
    assert of_support(page, "graft_adapter_training_step") == 12
    assert of_support(page, "graft_adapter_training_loss") == 1.25
    assert of_support(page, "graft_adapter_canary_weight_ratio") == 0.1
    # The step of 10 % lasts a minute, and waits ten more for requests.
    assert of_support(page, "graft_adapter_canary_step_due_timestamp_seconds") == NOW.timestamp() + 660


def test_a_new_adapter_tells_nothing_that_is_not_known() -> None:
    new = busy_adapter(conditions=(), versions=(), served_version=None, training=None, serving={})
    page = objects_page(adapters=(new,))
    assert 'adapter="support"' not in page
    assert value(page, "graft_base_adapters", namespace="team-a", base="tiny") == 0


def test_a_condition_is_one_series_with_what_it_says_now() -> None:
    page = objects_page(adapters=(busy_adapter(conditions=(condition("Ready", "False", "NoFreeSlot"),)),))
    assert page.count("graft_adapter_condition{") == 1
    assert of_support(page, "graft_adapter_condition", type="Ready", status="False", reason="NoFreeSlot") == 1


@pytest.mark.parametrize("loss", ["", "1,3", "null", "NaN", "1e400", "-0", "12 nats"])
def test_scores_that_are_no_numbers_harm_nothing(loss: str) -> None:
    page = objects_page(adapters=(busy_adapter(versions=[{**VERSION, "evalLoss": loss}]),))
    assert of_support(page, "graft_adapter_exact_match_ratio", version="v7") == 0.52
    assert [*text_string_to_metric_families(page)]


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": "none"},
        {"conditions": [{"type": "Ready"}]},
        {"servedVersion": "seven"},
        {"versions": [{"number": 7, "trainTokens": "many"}]},
        {"serving": {"rollout": {"weight": 10, "startTime": "yesterday"}}},
        {"training": []},
        [],
    ],
)
def test_an_object_that_is_not_as_its_crd_has_it_is_counted_and_passed_over(status: Any) -> None:
    strange = busy_adapter("strange") | {"status": status}
    page = objects_page(adapters=(strange, busy_adapter()))
    assert value(page, "graft_unreadable_objects", kind="LoraAdapter") == 1
    assert 'adapter="strange"' not in page
    assert of_support(page, "graft_adapter_served_version") == 7


def test_nulls_and_fields_of_newer_releases_are_passed_over() -> None:
    body = busy_adapter()
    body["status"] |= {"training": None, "candidateVersion": None, "novel": {"a": 1}}
    body["spec"]["serving"] |= {"rollout": {"strategy": "Novel"}}
    page = objects_page(adapters=(body,))
    assert of_support(page, "graft_adapter_training_step") is None
    assert of_support(page, "graft_adapter_canary_step_due_timestamp_seconds") is None
    assert value(page, "graft_unreadable_objects", kind="LoraAdapter") == 0


def test_without_series_of_adapters_bases_are_told_alone() -> None:
    pods = (pod("training", "support"), pod("serving", "tiny"))
    page = objects_page(adapters=(busy_adapter(),), pods=pods, per_adapter=False)
    assert 'adapter="support"' not in page
    assert value(page, "graft_serving_gpus", namespace="team-a", base="tiny", adapter="") == 2


def test_values_of_labels_are_escaped() -> None:
    line = SERVED_VERSION.line(("team-a", 'a"b\\c\nd', "support"), 1)
    [family] = text_string_to_metric_families(SERVED_VERSION.header + line)
    assert family.samples[0].labels["base"] == 'a"b\\c\nd'


class World:
    """Objects and a clock that a test changes between scrapes."""

    def __init__(self) -> None:
        self.now = NOW
        self.adapters: list[Any] = [busy_adapter()]
        self.pods: list[Any] = []
        self.metrics = ObjectMetrics(
            Known(
                adapters=lambda: self.adapters, bases=lambda: [base()] if self.adapters else [], pods=lambda: self.pods
            ),
            clock=lambda: self.now,
        )

    def scrape(self, *pods: Any, after: float = 60.0) -> str:
        self.now += timedelta(seconds=after)
        self.pods = list(pods)
        return b"".join(asyncio.run(self.metrics.exposed())).decode()


def started(when: datetime, **fields: Any) -> dict[str, Any]:
    return pod("training", "support", startTime=when.isoformat(), **fields)


def test_gpu_seconds_are_those_in_which_pods_hold_gpus() -> None:
    world = World()
    began = world.now + timedelta(seconds=20)
    page = world.scrape(started(began))
    assert of_support(page, "graft_training_gpu_seconds_total") == 80  # two GPUs for 40 s
    assert of_support(page, "graft_training_gpus") == 2
    page = world.scrape(started(began), after=30)
    assert of_support(page, "graft_training_gpu_seconds_total") == 140
    # It has ended ten seconds after that look, long before this one.
    state = {"terminated": {"finishedAt": (began + timedelta(seconds=80)).isoformat(), "exitCode": 0}}
    ended = started(began, phase="Succeeded", containerStatuses=[{"name": "trainer", "state": state}])
    for _ in range(2):
        page = world.scrape(ended, after=300)
        assert of_support(page, "graft_training_gpu_seconds_total") == 160
        assert of_support(page, "graft_training_gpus") == 0
    page = world.scrape()
    assert of_support(page, "graft_training_gpu_seconds_total") == 160, "the pod is gone, and what it took is not"


def test_what_was_held_before_the_process_began_is_not_told_again() -> None:
    world = World()
    assert of_support(world.scrape(started(NOW - timedelta(days=1))), "graft_training_gpu_seconds_total") == 120


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    world, began = World(), NOW
    assert of_support(world.scrape(started(began)), "graft_training_gpu_seconds_total") == 120
    assert of_support(world.scrape(started(began), after=-50), "graft_training_gpu_seconds_total") == 120
    assert of_support(world.scrape(started(began), after=60), "graft_training_gpu_seconds_total") == 140


def test_series_of_a_deleted_adapter_vanish_and_a_new_one_begins_from_nothing() -> None:
    world = World()
    world.adapters.append(busy_adapter("other"))
    assert 'adapter="support"' in world.scrape(started(NOW))
    [kept] = [item for item in world.adapters if item["metadata"]["name"] == "other"]
    support, world.adapters = world.adapters[0], [kept]
    assert 'adapter="support"' not in world.scrape(started(NOW)), "though its pod is still about to end"
    world.adapters = [support, kept]
    assert of_support(world.scrape(), "graft_training_gpu_seconds_total") is None


def test_who_knows_no_object_yet_counts_from_when_it_does() -> None:
    world = World()
    adapters, world.adapters = world.adapters, []
    world.scrape(after=3600)
    world.adapters = adapters
    page = world.scrape(started(NOW), after=30)
    assert of_support(page, "graft_training_gpu_seconds_total") == 60


def test_a_pod_without_a_node_or_of_nobody_holds_nothing() -> None:
    pending = pod("training", "support")
    del pending["spec"]["nodeName"]
    nobodys = pod("training", "support", name="copied")
    nobodys["metadata"] |= {"labels": {}, "annotations": {}}
    page = objects_page(adapters=(busy_adapter(),), pods=(pending, nobodys, pod("import", "tiny")))
    assert "graft_training_gpus" not in page
    assert "graft_serving_gpus" not in page


def test_sidecars_hold_gpus_and_what_only_comes_before_does_not() -> None:
    engine = {"name": "engine", "restartPolicy": "Always", "resources": {"limits": {"amd.com/gpu": "4"}}}
    fetch = {"name": "fetch", "resources": {"limits": {"nvidia.com/gpu": "8"}}}
    serving = pod("serving", "tiny")
    serving["spec"] |= {"initContainers": [fetch, engine], "containers": [{"name": "agent"}]}
    page = objects_page(adapters=(busy_adapter(),), pods=(serving,))
    assert value(page, "graft_serving_gpus", base="tiny", adapter="") == 4


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("nvidia.com/gpu", True),
        ("amd.com/gpu", True),
        ("gpu.intel.com/i915", True),
        ("gpu.intel.com/xe", True),
        ("nvidia.com/mig-1g.10gb", True),
        ("nvidia.com/gpu.shared", True),
        ("cpu", False),
        ("memory", False),
        ("ephemeral-storage", False),
        ("hugepages-2Mi", False),
        ("rdma/hca", False),
        ("google.com/tpu", False),
    ],
)
def test_gpus_are_told_by_the_names_of_device_plugins(resource: str, expected: bool) -> None:
    assert is_gpu(resource) is expected


async def test_a_page_of_a_thousand_adapters_lets_others_go_on_meanwhile() -> None:
    cache = Cache()
    for number in range(1000):
        body = json.loads(json.dumps(busy_adapter(f"adapter-{number}"), default=str))
        body["metadata"] |= {"uid": f"uid-{number}", "resourceVersion": str(number + 1)}
        cache.put(LORA_ADAPTERS, body)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def nothing() -> Iterable[Any]:
        return ()

    known = Known(adapters=lambda: cache.objects(LORA_ADAPTERS), bases=nothing, pods=nothing)
    beside = asyncio.create_task(others())
    page = b"".join(await ObjectMetrics(known, clock=lambda: NOW).exposed())
    beside.cancel()
    assert page.count(b"graft_adapter_served_version{") == 1000
    assert turns > 5
