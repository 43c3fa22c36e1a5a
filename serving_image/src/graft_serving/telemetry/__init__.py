"""What is counted: what an answer says of its version (`answered`, `traffic`), for the operator's judgement of it,
and for Prometheus (`metrics`); the engine's own series for endpoint pickers (`engine_series`); `pacing`, which
keeps all of that from holding up requests; and `tracing`, the spans of single requests.
"""
