"""The engine's series that endpoint pickers go by, with versions folded into the names that clients ask for. Pure.

The pickers of the Gateway API inference extension and of llm-d read a handful of vLLM's series, by these very names.
They take the first series of a gauge, and of `vllm:lora_requests_info` the one with the highest value, which is the
time when the engine wrote it. So each has exactly one series here.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

WAITING: Final = "vllm:num_requests_waiting"
RUNNING: Final = "vllm:num_requests_running"
CACHE_USAGE: Final = "vllm:kv_cache_usage_perc"
FORMER_CACHE_USAGE: Final = "vllm:gpu_cache_usage_perc"
"""The same under its name of older engines, which pickers of that time read."""
CACHE_CONFIG: Final = "vllm:cache_config_info"
LORA: Final = "vllm:lora_requests_info"
LORA_NAMES: Final = ("running_lora_adapters", "waiting_lora_adapters")
MOST_LORAS: Final = "max_lora"
CACHE_LABELS: Final = ("block_size", "num_gpu_blocks")

_NAMES: Final = (WAITING, RUNNING, CACHE_USAGE, FORMER_CACHE_USAGE, CACHE_CONFIG, LORA)
_VERSION_NAME: Final = re.compile(r"(?P<adapter>.+)--v\d+-[0-9a-f]{8}")


class UnreadableSeriesError(ValueError):
    """What the engine answered is not Prometheus' text format, or lacks the series that every picker needs."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The samples of the engine's page, by name."""

    samples: Mapping[str, list[Sample]]

    def values(self, *names: str) -> list[float]:
        """The values of the first of these names that is there: one for each engine process behind the API."""
        return next(([sample.value for sample in found] for name in names if (found := self.samples.get(name))), [])


def series_for_pickers(page: str, *, base: str, aliases: Collection[str]) -> bytes:
    """The engine's page as pickers are shown it.

    Args:
        page: what the engine answers at `/metrics`.
        base: the name that clients call the base by.
        aliases: the adapters' names that clients may ask for here; no other name is told.

    Raises:
        UnreadableSeriesError: the page is none of vLLM's.
    """
    read = _read(page)
    return generate_latest(_Families(_families(read, base, aliases)))


class _Families(Collector):
    """What Prometheus' client renders."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of them, once."""
        return self._families


def _read(page: str) -> _Read:
    # An engine tells a thousand lines, and parsing them takes ten times as long as leaving them out.
    lines = [line for line in page.splitlines() if line.startswith(_NAMES)]
    samples: dict[str, list[Sample]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(sample)
    except ValueError as error:
        raise UnreadableSeriesError(f"the engine's /metrics can't be read: {error}") from error
    if WAITING not in samples or RUNNING not in samples:
        raise UnreadableSeriesError(f"the engine's /metrics has no {WAITING} or no {RUNNING}")
    return _Read(samples)


def _families(read: _Read, base: str, aliases: Collection[str]) -> Iterator[Metric]:
    yield _gauge(WAITING, "Requests that wait for the engine", {"model_name": base}, sum(read.values(WAITING)))
    yield _gauge(RUNNING, "Requests that the engine runs", {"model_name": base}, sum(read.values(RUNNING)))
    # Behind one port the engine's processes are balanced by itself, so their mean is what the pod has left.
    if usage := read.values(CACHE_USAGE, FORMER_CACHE_USAGE):
        for name in (CACHE_USAGE, FORMER_CACHE_USAGE):
            yield _gauge(name, "Part of the KV cache in use, 1 is all of it", {"model_name": base}, fmean(usage))
    if config := read.samples.get(CACHE_CONFIG):
        told = {name: value for name in CACHE_LABELS if (value := config[0].labels.get(name, "")).isdecimal()}
        yield _gauge(CACHE_CONFIG, "Blocks of the KV cache", told, 1)
    if loras := read.samples.get(LORA):
        latest = max(loras, key=lambda sample: sample.value)
        yield _gauge(LORA, "Adapters with requests", _lora_labels(latest.labels, aliases), latest.value)


def _lora_labels(labels: Mapping[str, str], aliases: Collection[str]) -> dict[str, str]:
    folded = {name: _folded(labels.get(name, ""), lambda alias: alias in aliases) for name in LORA_NAMES}
    most = labels.get(MOST_LORAS, "")
    return {MOST_LORAS: most if most.isdecimal() else "0", **folded}


def _folded(names: str, is_told: Callable[[str], bool]) -> str:
    """The aliases of a comma-separated list of the engine's names, each once."""
    matches = (_VERSION_NAME.fullmatch(name.strip()) for name in names.split(","))
    return ",".join(sorted({match["adapter"] for match in matches if match and is_told(match["adapter"])}))


def _gauge(name: str, text: str, labels: Mapping[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family
