"""The serving agent: keeps one inference engine's adapters as the operator wants them, and fronts its API.

What the operator wants (`wanted`) becomes adapters that are fetched, loaded and proven (`adapters`) in the `engine`. A
client's request comes in by `api` and goes by `proxy` to this pod's engine or to another pod; the pods of a base know
one another by `peers`. `status` tells the operator, and `telemetry` counts. `agent` puts all together, in one of two
`modes`: a base with its adapters, or a model that one version was merged into.
"""
