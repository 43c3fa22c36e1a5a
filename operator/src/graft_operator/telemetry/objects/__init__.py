"""What Prometheus is told of each object, read from the cache at every scrape: nothing is left of one that is deleted.

``families`` names every series, ``views`` are the parts of objects that they come from, ``samples`` reads the figures,
``gpu_time`` counts the seconds in which pods hold GPUs, and ``page`` puts it all together. A part of the operator's
``/metrics`` as :mod:`graft_operator.telemetry.metrics` is.
"""
