"""The generic reconciliation engine: a keyed work queue, its workers, leadership, resync and probes.

Nothing here knows of LoRA, Kopf, the Kubernetes client or the object store.
"""
