"""Logs and Prometheus metrics of the operator."""
