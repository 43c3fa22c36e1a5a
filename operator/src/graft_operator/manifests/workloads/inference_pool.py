"""The InferencePool by which Gateways reach the pods of a base (Gateway API inference extension)."""

from __future__ import annotations

from typing import Any

from graft_operator.api.base_model import BaseModel
from graft_operator.api.base_serving import Gateway
from graft_operator.manifests import labels, naming
from graft_operator.manifests.workloads.serving import SERVING, base_selector


def inference_pool(base: BaseModel, gateway: Gateway) -> dict[str, Any]:
    """Return the InferencePool, of the name and over the pods of the Service that clients use.

    Its port is the agent's, which knows adapters, and not the engine's, which knows versions only.
    """
    name = naming.serving_name(base.metadata.name)
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": labels.object_meta("BaseModel", base.metadata, name=name, component=SERVING),
        "spec": {
            "selector": {"matchLabels": base_selector(base)},
            "targetPorts": [{"number": naming.API_PORT}],
            **_picker(gateway),
        },
    }


def _picker(gateway: Gateway) -> dict[str, Any]:
    if (picker := gateway.endpoint_picker_ref) is None:
        return {}
    reference = {
        "group": "",
        "kind": "Service",
        "name": picker.name,
        "port": {"number": picker.port},
        "failureMode": picker.failure_mode,
    }
    return {"endpointPickerRef": reference}
