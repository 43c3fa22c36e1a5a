"""Prometheus metrics, explained in docs/metrics.md.

Labels are names of adapters that are on this pod, of its base, and words of this program; nothing that a client sends
becomes a label. The series of a version go with the version.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from graft_serving.telemetry.answered import Answered
from graft_serving.telemetry.pacing import Slices
from graft_serving.versions import VersionKey

REQUEST_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds; from a one-token answer of a small model to a long generation of a large one."""
TOKEN_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
"""Seconds per token; people read at about 0.1."""
TARGET = ("adapter", "version")
BASE_VERSION = "base"
BROKEN, LOST = "broken", "lost"
ANSWER_STATUSES = ("2xx", "4xx", "5xx", BROKEN, LOST)
TOKEN_KINDS = PROMPT, COMPLETION = "prompt", "completion"
_CREATED: Final = "_created"
"""Prometheus' client adds such a series to each of others; they are as many again, and nobody asks for them."""

Metric = TypeVar("Metric", Counter, Gauge, Histogram)


class _Series(Generic[Metric]):
    """One metric and all its series, which are found and rendered one by one."""

    def __init__(self, metric: Metric, names: tuple[str, ...]) -> None:
        self._metric: Metric = metric
        self._names = names
        self._of: dict[tuple[str, ...], Metric] = {}

    def of(self, *labels: str) -> Metric:
        """The series with these labels."""
        found = self._of.get(labels)
        if found is None:
            found = self._of[labels] = self._metric.labels(*labels)
        return found

    def drop(self, target: tuple[str, str]) -> None:
        """Drop the series of one version."""
        # One pass over the names is a matter of microseconds each, and versions go seldom.
        for labels in [labels for labels in self._of if labels[: len(target)] == target]:
            self._metric.remove(*labels)
            del self._of[labels]

    def lines(self) -> Iterator[str]:
        """The text format of Prometheus, a few lines at a time."""
        [family] = self._metric.describe()
        name = family.name + "_total" * (family.type == "counter")
        yield f"# HELP {name} {family.documentation}\n# TYPE {name} {family.type}\n"
        for labels, series in list(self._of.items()):
            fixed = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(self._names, labels, strict=True))
            [collected] = series.collect()
            yield "".join(_line(sample, fixed) for sample in collected.samples if not sample.name.endswith(_CREATED))


class Metrics:
    """All metrics of one agent, in a registry of their own."""

    def __init__(self) -> None:
        """Register every metric."""
        self.registry = CollectorRegistry()
        self._requests = self._counter("graft_requests", "Answers by HTTP status class", *TARGET, "status")
        self._tokens = self._counter("graft_tokens", "Tokens by kind", *TARGET, "kind")
        self._request_seconds = self._histogram(
            "graft_request_duration_seconds", "Time until the last byte of an answer", REQUEST_BUCKETS
        )
        self._first_token_seconds = self._histogram(
            "graft_time_to_first_token_seconds", "Time until the first chunk of a streamed answer", REQUEST_BUCKETS
        )
        self._token_seconds = self._histogram(
            "graft_time_per_output_token_seconds", "Time per token of a streamed answer after its first", TOKEN_BUCKETS
        )
        self._inflight = self._gauge("graft_requests_in_flight", "Requests under way", *TARGET)
        self._loads = self._counter("graft_loads", "Loads into the engine", *TARGET)
        self._load_seconds = self._gauge("graft_load_seconds", "Time of the last load, without the proof", *TARGET)
        self._swap_seconds = self._gauge(
            "graft_swap_seconds", "Time from the arrival of a wanted set to the last move of an alias here", *TARGET
        )
        self._refusals = self._counter("graft_refusals", "Versions refused", *TARGET, "reason")
        self._forwards = self._counter("graft_forwards", "Tries at other pods and Services", "outcome")
        self._rejected = self._counter("graft_rejected", "Requests answered by the agent itself", "code")
        self._of_target: tuple[_Series[Any], ...] = (
            *(self._requests, self._tokens, self._request_seconds, self._first_token_seconds, self._token_seconds),
            *(self._inflight, self._loads, self._load_seconds, self._swap_seconds, self._refusals),
        )

    async def exposed(self) -> bytes:
        """All series in Prometheus' text format, made without holding the event loop for long."""
        slices, lines = Slices(), list[str]()
        for series in (*self._of_target, self._forwards, self._rejected):
            for text in series.lines():
                lines.append(text)
                await slices.pause_if_over()
        return "".join(lines).encode()

    def begin(self, adapter: str, version: str) -> None:
        """Count from zero what may be answered from now on: Prometheus takes no first failure for a change else."""
        for status in ANSWER_STATUSES:
            self._requests.of(adapter, version, status)
        for kind in TOKEN_KINDS:
            self._tokens.of(adapter, version, kind)

    def under_way(self, adapter: str, version: str) -> AbstractContextManager[None]:
        """Count a request that the engine is asked, until it ends, however it does."""
        return self._inflight.of(adapter, version).track_inprogress()

    def answered(self, adapter: str, version: str, answer: Answered) -> None:
        """Count an answer of the engine."""
        labels = (adapter, version)
        self._requests.of(*labels, f"{answer.status // 100}xx" if answer.complete else BROKEN).inc()
        self._request_seconds.of(*labels).observe(answer.seconds)
        if answer.first_token_seconds is not None:
            self._first_token_seconds.of(*labels).observe(answer.first_token_seconds)
        if answer.seconds_per_token is not None:
            self._token_seconds.of(*labels).observe(answer.seconds_per_token)
        self._tokens.of(*labels, PROMPT).inc(answer.usage.prompt)
        self._tokens.of(*labels, COMPLETION).inc(answer.usage.completion)

    def lost(self, adapter: str, version: str) -> None:
        """Count a request that the engine lost before the first byte of an answer."""
        self._requests.of(adapter, version, LOST).inc()

    def forwarded(self, outcome: str) -> None:
        """Count a try at another pod or Service."""
        self._forwards.of(outcome).inc()

    def rejected(self, code: str) -> None:
        """Count an error that the agent itself answered with."""
        self._rejected.of(code).inc()

    def loaded(self, key: VersionKey, seconds: float) -> None:
        """Count a load."""
        labels = _labels(key)
        self.begin(*labels)
        self._loads.of(*labels).inc()
        self._load_seconds.of(*labels).set(seconds)

    def refused(self, key: VersionKey, reason: str) -> None:
        """Count a refusal."""
        self._refusals.of(*_labels(key), reason).inc()

    def swapped(self, key: VersionKey, seconds: float) -> None:
        """Record how long it took until the alias pointed at the version."""
        self._swap_seconds.of(*_labels(key)).set(seconds)

    def forgotten(self, key: VersionKey) -> None:
        """Drop every series of the version."""
        for series in self._of_target:
            series.drop(_labels(key))

    def _counter(self, name: str, text: str, *labels: str) -> _Series[Counter]:
        return _Series(Counter(name, text, labels, registry=self.registry), labels)

    def _gauge(self, name: str, text: str, *labels: str) -> _Series[Gauge]:
        return _Series(Gauge(name, text, labels, registry=self.registry), labels)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> _Series[Histogram]:
        return _Series(Histogram(name, text, TARGET, buckets=buckets, registry=self.registry), TARGET)


def _labels(key: VersionKey) -> tuple[str, str]:
    return key.adapter, f"v{key.number}"


def _line(sample: Any, fixed: str) -> str:
    own = "".join(f',{name}="{value}"' for name, value in sample.labels.items())
    return f"{sample.name}{{{fixed}{own}}} {sample.value!r}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
