"""What every operator needs, whatever it manages. Nothing here knows of LoRA, Kopf, the Kubernetes client or the
store.

An event adds one of the `keys` to the `work_queue`, whose `fair_order` says which is next: the urgent ones first, and
namespaces in turn. A worker of the `controller` takes it, reconciles it and puts it back when it is to run again,
after `backoff` where it failed; `resync` adds every key now and then. Only the `leader` works, and `probes` tell
whether it gets on.
"""
