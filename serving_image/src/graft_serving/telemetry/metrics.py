"""Prometheus metrics, explained in docs/metrics.md.

Labels are names of adapters that are on this pod, of its base, and words of this program; nothing that a client sends
becomes a label. The series of a version go with the version.
"""

from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from graft_serving.telemetry.answered import Answered
from graft_serving.versions import VersionKey

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Seconds; from a one-token answer of a small model to a long generation of a large one."""
TOKEN_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
"""Seconds per token; people read at about 0.1."""
TARGET = ("adapter", "version")
BASE_VERSION = "base"


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
        self._forwards = self._counter("graft_forwards", "Requests sent to another pod or Service", "outcome")
        self._rejected = self._counter("graft_rejected", "Requests answered by the agent itself", "code")
        self._of_target = (
            *(self._requests, self._tokens, self._request_seconds, self._first_token_seconds, self._token_seconds),
            *(self._inflight, self._loads, self._load_seconds, self._swap_seconds, self._refusals),
        )

    def under_way(self, adapter: str, version: str) -> AbstractContextManager[None]:
        """Count a request that the engine is asked, until it ends, however it does."""
        return self._inflight.labels(adapter, version).track_inprogress()

    def answered(self, adapter: str, version: str, answer: Answered) -> None:
        """Count an answer of the engine."""
        labels = (adapter, version)
        self._requests.labels(*labels, f"{answer.status // 100}xx" if answer.complete else "broken").inc()
        self._request_seconds.labels(*labels).observe(answer.seconds)
        if answer.first_token_seconds is not None:
            self._first_token_seconds.labels(*labels).observe(answer.first_token_seconds)
        if answer.seconds_per_token is not None:
            self._token_seconds.labels(*labels).observe(answer.seconds_per_token)
        self._tokens.labels(*labels, "prompt").inc(answer.usage.prompt)
        self._tokens.labels(*labels, "completion").inc(answer.usage.completion)

    def lost(self, adapter: str, version: str) -> None:
        """Count a request that the engine lost before the first byte of an answer."""
        self._requests.labels(adapter, version, "lost").inc()

    def forwarded(self, outcome: str) -> None:
        """Count a request that was sent to another pod or Service: `answered` or `failed`."""
        self._forwards.labels(outcome).inc()

    def rejected(self, code: str) -> None:
        """Count an error that the agent itself answered with."""
        self._rejected.labels(code).inc()

    def loaded(self, key: VersionKey, seconds: float) -> None:
        """Count a load."""
        labels = _labels(key)
        self._loads.labels(*labels).inc()
        self._load_seconds.labels(*labels).set(seconds)

    def refused(self, key: VersionKey, reason: str) -> None:
        """Count a refusal."""
        self._refusals.labels(*_labels(key), reason).inc()

    def swapped(self, key: VersionKey, seconds: float) -> None:
        """Record how long it took until the alias pointed at the version."""
        self._swap_seconds.labels(*_labels(key)).set(seconds)

    def forgotten(self, key: VersionKey) -> None:
        """Drop every series of the version."""
        for metric in self._of_target:
            metric.remove_by_labels(dict(zip(TARGET, _labels(key), strict=True)))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, TARGET, buckets=buckets, registry=self.registry)


def _labels(key: VersionKey) -> tuple[str, str]:
    return key.adapter, f"v{key.number}"
