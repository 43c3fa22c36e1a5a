"""The custom resources as frozen pydantic models: ``lora_adapter`` and ``base_model``, and a module for each part of
them.

No I/O, no Kubernetes client. ``hack/generate_crds.py`` makes the CRDs of them, so what is written here is what users
read.
"""
