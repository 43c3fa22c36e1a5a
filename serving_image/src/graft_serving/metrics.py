"""Prometheus metrics. Every series names an adapter and a version that is on this pod, and goes with the version."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from graft_serving.versions import VersionKey, VersionRecord

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Seconds; from a one-token answer of a small model to a long generation of a large one."""
BASE_VERSION = "base"


class Metrics:
    """All metrics of one agent, in a registry of their own."""

    def __init__(self) -> None:
        """Register every metric."""
        self.registry = CollectorRegistry()
        target = ("adapter", "version")
        self.requests = Counter(
            "graft_requests", "Answers by HTTP status class", (*target, "status"), registry=self.registry
        )
        self.tokens = Counter(
            "graft_tokens", "Tokens by kind, as the engine counts them", (*target, "kind"), registry=self.registry
        )
        self.latency = Histogram(
            "graft_request_seconds",
            "Time until the last byte of an answer",
            target,
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "graft_first_byte_seconds",
            "Time until the first byte of an answer",
            target,
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.inflight = Gauge("graft_inflight", "Requests under way", target, registry=self.registry)
        self.load_seconds = Gauge("graft_load_seconds", "Time of the last load", target, registry=self.registry)
        self.swap_seconds = Histogram(
            "graft_swap_seconds",
            "Time from the arrival of a wanted set to the move of an alias",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self.loads = Counter("graft_loads", "Adapters loaded into the engine", registry=self.registry)
        self.refusals = Counter("graft_refusals", "Versions refused", ("reason",), registry=self.registry)
        self.forwards = Counter(
            "graft_forwards", "Requests sent to another Service", ("outcome",), registry=self.registry
        )
        self.rejected = Counter(
            "graft_rejected", "Requests answered by the agent itself", ("status",), registry=self.registry
        )

    def loaded(self, record: VersionRecord, seconds: float) -> None:
        """Count a load."""
        self.loads.inc()
        self.load_seconds.labels(record.key.adapter, f"v{record.key.number}").set(seconds)

    def refused(self, record: VersionRecord) -> None:
        """Count a refusal."""
        self.refusals.labels(record.reason).inc()

    def swapped(self, adapter: str, seconds: float) -> None:
        """Record how long it took until the alias moved. Not by adapter: ten buckets each would add up."""
        del adapter
        self.swap_seconds.observe(seconds)

    def forgotten(self, key: VersionKey) -> None:
        """Drop every series of the version."""
        labels = {"adapter": key.adapter, "version": f"v{key.number}"}
        for metric in (
            self.requests,
            self.tokens,
            self.latency,
            self.first_byte,
            self.inflight,
            self.load_seconds,
        ):
            metric.remove_by_labels(labels)
