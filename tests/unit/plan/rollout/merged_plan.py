"""The plan of an adapter that may be served merged, with a stand-in for the manifest that plans only pass on."""

from __future__ import annotations

import json

from tests.builders import NOW, PLATFORM

from graft_operator.manifests import labels
from graft_operator.plan.actions import ApplyObject, Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.snapshot import AdapterSnapshot


def plan(given: AdapterSnapshot) -> Plan:
    return plan_adapter(given, NOW, PLATFORM)


def applied_versions(found: Plan) -> list[int]:
    """Return the versions that the Deployments of the plan are to serve."""
    manifests = [action.manifest for action in found.actions if isinstance(action, ApplyObject)]
    templates = [item["spec"]["template"]["metadata"] for item in manifests if item["kind"] == "Deployment"]
    return [json.loads(item["annotations"][labels.VERSION])["number"] for item in templates]
