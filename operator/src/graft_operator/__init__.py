"""The Graft operator: watches BaseModels and LoraAdapters and makes the cluster follow them.

`runtime` connects the parts, inside the process that `host` runs. An event goes from `cluster` (lists, watches, cache)
through `routing` (who has to look) to `controller_runtime` (queue, workers, leader), and from there to `reconcilers`,
where the way of one adapter is drawn. They gather a snapshot from the cache, `artifacts` (what the registry is known
to hold) and `agents` (what serving pods say), have `plan` decide, and carry out what it asks for with `manifests`.
`api` is what users write and read.
"""
