"""What the operator says of itself: ``logs`` for people and machines, ``metrics`` for Prometheus."""
