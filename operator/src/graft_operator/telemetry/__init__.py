"""What the operator says: ``logs``, ``metrics`` of itself and of ``objects`` for Prometheus, and ``tracing``."""
