"""The generic reconciliation engine. Nothing here knows of LoRA, Kopf, the Kubernetes client or the object store.

An event adds a key to the `work_queue`, whose `fair_order` says which key is next. A worker of the `controller` takes
it, reconciles it and puts it back when it is to run again, after `backoff` where it failed; `resync` adds every key now
and then. Only the `leader` works, and `probes` tell whether it gets on.
"""
