"""What endpoint pickers read on the clients' port, by their own rules and by Prometheus' own parser.

`PickerView` reads a page as the pickers of the Gateway API inference extension and of llm-d do (their "core metrics
extractor" with its defaults for vLLM): a gauge is the first series of its family; adapters are those of the series with
the highest value; what is no number is an error, and so is a family that is missing, but for that of adapters.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_serving.telemetry import pacing

PAGE = """\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{{generation="0"}} 9193.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="tiny-of-the-engine"}} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="tiny-of-the-engine"}} 2.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{{engine="0",reason="capacity"}} 77.0
# HELP {usage} KV-cache usage. 1 means 100 percent usage.
# TYPE {usage} gauge
{usage}{{engine="0",model_name="tiny-of-the-engine"}} 0.25
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="512"}} 1.0
# HELP vllm:lora_requests_info Running stats on lora requests.
# TYPE vllm:lora_requests_info gauge
vllm:lora_requests_info{{max_lora="4",running_lora_adapters="{first}",waiting_lora_adapters=""}} 1.7e+09
vllm:lora_requests_info{{max_lora="4",running_lora_adapters="{first},{second}",waiting_lora_adapters="{third}"}} 1.8e+09
vllm:lora_requests_info{{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""}} 1.6e+09
vllm:e2e_request_latency_seconds_bucket{{engine="0",le="0.3",model_name="{first}"}} 4.0
"""


@dataclass
class PickerView:
    """What a picker knows of a pod after one scrape."""

    waiting: int
    running: int
    cache_usage: float
    block_size: int
    blocks: int
    active: set[str] = field(default_factory=set)
    waiting_models: set[str] = field(default_factory=set)
    most_active: int = 0

    @classmethod
    def of(cls, page: str, usage: str = "vllm:kv_cache_usage_perc") -> "PickerView":
        families = families_of(page)
        config = families["vllm:cache_config_info"][0][0]
        view = cls(
            waiting=int(families["vllm:num_requests_waiting"][0][1]),
            running=int(families["vllm:num_requests_running"][0][1]),
            cache_usage=families[usage][0][1],
            block_size=int(config["block_size"]),
            blocks=int(config["num_gpu_blocks"]),
        )
        if series := families.get("vllm:lora_requests_info"):
            labels, _ = max(series, key=lambda one: one[1])
            view.active = names_in(labels["running_lora_adapters"])
            view.waiting_models = names_in(labels["waiting_lora_adapters"])
            view.most_active = int(labels["max_lora"])
        return view


def families_of(page: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The series of a page by family; like Go's parser it takes no family and no series twice."""
    families: dict[str, list[tuple[dict[str, str], float]]] = {}
    declared: list[str] = []
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            declared.append(line.split()[2])
            continue
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ")
        pairs = dict(pair.split("=", 1) for pair in labels.split('",') if pair)
        families.setdefault(name, []).append(({key: text.strip('"') for key, text in pairs.items()}, float(value)))
    assert len(declared) == len(set(declared))
    assert set(families) <= set(declared)
    for series in families.values():
        assert len({tuple(sorted(labels.items())) for labels, _ in series}) == len(series)
    return families


def names_in(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


async def scrape(pod: Pod, **headers: str) -> tuple[int, str]:
    """Ask as a picker does: nothing but the path, at the pod's address."""
    async with pod.client.get(f"{pod.url}/metrics", headers=headers) as answer:
        if answer.status == 200:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.status, await answer.text()


def page_of(*names: str, usage: str = "vllm:kv_cache_usage_perc") -> str:
    first, second, third = names
    return PAGE.format(first=first, second=second, third=third, usage=usage)


@pytest.fixture
async def names(pod: Pod) -> Any:
    """Two versions of "support" and one of "sales" on the engine: their names there."""
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    sales = pod.publisher.publish("sales")
    async with pod.agent():
        wanted = wanted_adapter("support", [v1, v2], [(v1, 50), (v2, 50)]), wanted_adapter("sales", [sales])
        pod.want(wanted_set(pod.base, *wanted))
        await pod.until_ready()
        yield v1.engine_name, v2.engine_name, sales.engine_name


@pytest.mark.parametrize("usage", ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"])
async def test_a_picker_knows_load_and_adapters_by_the_names_that_clients_ask_for(
    pod: Pod, names: tuple[str, str, str], usage: str
) -> None:
    pod.engine.metrics = page_of(*names, usage=usage)
    status, page = await scrape(pod)
    assert status == 200
    for read_by in ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"):
        view = PickerView.of(page, read_by)
        assert (view.waiting, view.running, view.cache_usage) == (2, 3, 0.25)
        assert (view.block_size, view.blocks) == (16, 512)
        assert (view.active, view.waiting_models, view.most_active) == ({"support"}, {"sales"}, 4)


async def test_prometheus_reads_the_page_and_finds_no_other_names(pod: Pod, names: tuple[str, str, str]) -> None:
    pod.engine.metrics = page_of(names[0], "stray--v1-00000000", "/secret/path")
    _, page = await scrape(pod)
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert set(families) == {
        *("vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:kv_cache_usage_perc"),
        *("vllm:gpu_cache_usage_perc", "vllm:cache_config_info", "vllm:lora_requests_info"),
    }
    assert all(family.type == "gauge" and len(family.samples) == 1 for family in families.values())
    assert "--v" not in page
    assert "stray" not in page
    assert "secret" not in page
    assert families["vllm:num_requests_running"].samples[0].labels == {"model_name": "tiny"}


async def test_engine_processes_behind_one_port_are_one_pod(pod: Pod, names: tuple[str, str, str]) -> None:
    second = {'engine="0"': 'engine="1"', " 3.0": " 5.0", " 2.0": " 4.0", " 0.25": " 0.75"}
    lines = page_of(*names).splitlines(keepends=True)
    pages = []
    for line in lines:
        pages.append(line)
        if "model_name" in line and "bucket" not in line:
            for old, new in second.items():
                line = line.replace(old, new)
            pages.append(line)
    pod.engine.metrics = "".join(pages)
    view = PickerView.of((await scrape(pod))[1])
    assert (view.waiting, view.running, view.cache_usage) == (6, 8, 0.5)


async def test_an_engine_that_never_had_an_adapter_has_no_such_family(pod: Pod, names: tuple[str, str, str]) -> None:
    page = page_of(*names)
    pod.engine.metrics = "".join(line for line in page.splitlines(keepends=True) if "lora_requests_info" not in line)
    view = PickerView.of((await scrape(pod))[1])
    assert (view.running, view.active, view.most_active) == (3, set(), 0)


async def test_what_is_no_number_is_left_out(pod: Pod, names: tuple[str, str, str]) -> None:
    pod.engine.metrics = page_of(*names).replace('num_gpu_blocks="512"', 'num_gpu_blocks="None"')
    _, page = await scrape(pod)
    assert families_of(page)["vllm:cache_config_info"][0][0] == {"block_size": "16"}


@pytest.mark.parametrize("page", ["", "<html>\n", "vllm:num_requests_running{ 1\n", "sglang:num_running_reqs 1.0\n"])
async def test_what_is_no_page_of_vllm_s_is_not_passed_on(pod: Pod, names: tuple[str, str, str], page: str) -> None:
    assert names
    pod.engine.metrics = page
    status, text = await scrape(pod)
    assert status == 503
    assert "the engine's /metrics" in text


async def test_nothing_old_is_told_of_an_engine_that_is_gone(pod: Pod, names: tuple[str, str, str]) -> None:
    pod.engine.metrics = page_of(*names)
    assert (await scrape(pod))[0] == 200
    await pod.engine.crash()

    async def is_unknown() -> bool:
        return (await scrape(pod))[0] == 503

    await eventually(is_unknown)


async def test_many_pickers_cost_the_engine_one_page(
    pod: Pod, names: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "PART_OF_TIME", 1e-9)
    monkeypatch.setattr(pacing, "LONGEST_REUSE_SECONDS", 3600)
    pod.engine.metrics = page_of(*names)
    pages = await asyncio.gather(*(scrape(pod) for _ in range(50)))
    assert {status for status, _ in pages} == {200}
    assert pod.engine.scrapes == 1


async def test_pickers_need_no_key_and_strangers_from_outside_do(pod: Pod, tmp_path: Any) -> None:
    (tmp_path / "keys").write_text("sk-graft")
    pod.settings = pod.settings.model_copy(update={"api_key_file": tmp_path / "keys"})
    pod.engine.metrics = page_of("a", "b", "c")
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        by_picker, _ = await scrape(pod)
        from_outside = [
            (await scrape(pod, **{name: "203.0.113.7"}))[0]
            for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Envoy-External-Address")
        ]
        with_key, _ = await scrape(pod, **{"X-Forwarded-For": "203.0.113.7", "Authorization": "Bearer sk-graft"})
    assert (by_picker, with_key) == (200, 200)
    assert from_outside == [401] * 5


async def test_other_pods_have_no_use_for_it(pod: Pod) -> None:
    async with pod.agent(), pod.client.get(f"{pod.peer_url}/metrics", headers=pod.peer_headers()) as answer:
        assert answer.status == 404
