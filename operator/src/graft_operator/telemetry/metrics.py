"""Every Prometheus metric of the operator, in one registry. Names follow the controller-runtime conventions."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

RECONCILES = Counter(
    "graft_reconciles_total",
    "Reconcile passes by kind and result (success, refused, transient, timeout, error, cancelled).",
    ("kind", "result"),
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "graft_reconcile_seconds", "Duration of one reconcile pass.", ("kind",), buckets=_SECONDS, registry=REGISTRY
)
RETRIES = Counter("graft_retries_total", "Passes put back with backoff.", registry=REGISTRY)
QUEUE_DEPTH = Gauge(
    "graft_queue_depth",
    "Keys that wait for a worker, by priority (urgent, progress, routine).",
    ("priority",),
    registry=REGISTRY,
)
QUEUE_WAIT_SECONDS = Histogram(
    "graft_queue_wait_seconds",
    "From when a key may run, or was raised to the priority, to its run.",
    ("priority",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
API_REQUESTS = Counter(
    "graft_kubernetes_requests_total",
    "Requests to the Kubernetes API by verb, resource and status code (0: no answer; empty: a watch).",
    ("verb", "resource", "code"),
    registry=REGISTRY,
)
API_REQUEST_SECONDS = Histogram(
    "graft_kubernetes_request_seconds",
    "Latency of requests to the Kubernetes API.",
    ("verb",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
REGISTRY_CALLS = Counter(
    "graft_registry_calls_total",
    "Calls to the artifact registry by operation and result (success, unavailable, error).",
    ("operation", "result"),
    registry=REGISTRY,
)
REGISTRY_CALL_SECONDS = Histogram(
    "graft_registry_call_seconds",
    "Latency of calls to the artifact registry.",
    ("operation",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
AGENT_REQUESTS = Counter(
    "graft_agent_requests_total",
    "State requests to serving agents by result (success, unreachable).",
    ("result",),
    registry=REGISTRY,
)
EVENTS = Counter("graft_watch_events_total", "Watch events received by resource.", ("resource",), registry=REGISTRY)
LAST_EVENT_TIME = Gauge(
    "graft_watch_last_event_timestamp_seconds",
    "Unix time of the last watch event by resource. Alert on time() minus this.",
    ("resource",),
    registry=REGISTRY,
)
LOOP_LAG_SECONDS = Gauge("graft_loop_lag_seconds", "How late the event loop ran its last heartbeat.", registry=REGISTRY)
LEADER = Gauge("graft_leader", "1 while this process holds the lease.", registry=REGISTRY)
