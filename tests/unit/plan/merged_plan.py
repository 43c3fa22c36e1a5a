"""The plan of an adapter that may be served merged, with stand-ins for the manifests that plans only pass on."""

from __future__ import annotations

from tests.builders import NOW

from graft_operator.plan.actions import Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.snapshot import AdapterSnapshot


def plan(given: AdapterSnapshot) -> Plan:
    """Return the plan; a merged model's one manifest names the version that it is to serve."""
    return plan_adapter(
        given,
        NOW,
        training_job=lambda _: {"metadata": {"name": "the-job"}},
        merged_model=lambda _seen, _base, wanted: [{"kind": "Deployment", "version": wanted.number}],
    )
