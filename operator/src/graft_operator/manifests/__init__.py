"""Pure builders of the Kubernetes objects that we own. Plain dicts out: no client model ever drops a field.

``jobs`` run to an end, ``workloads`` serve. What all share: ``pods`` (with ``certificates``), ``labels``, ``naming``,
and what the platform team decides: ``platform`` and ``tenant_pods``.
"""
