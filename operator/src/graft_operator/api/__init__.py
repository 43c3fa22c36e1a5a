"""The custom resources as frozen pydantic models. No I/O, no Kubernetes client."""
