"""What is told of the pod: the state document for the operator, readiness, news to wait for, and the metrics' page."""
