"""What the registry keeps of the rows of a pod's adapter, and other pods of that."""

from __future__ import annotations

import json

from tests.trainer.conftest import NAMESPACE, Pod

from graft_registry.digests import digest_of
from graft_registry.layout import AdapterLayout


def keys(pod: Pod) -> list[str]:
    layout = AdapterLayout(NAMESPACE, pod.config["adapter"])
    return [entry.key.removeprefix(layout.prepared_rows) for entry in pod.store.list(layout.prepared_rows)]


def again(pod: Pod, name: str) -> Pod:
    """Another recipe of the same adapter, in a pod of its own."""
    config = json.loads(json.dumps(pod.config)) | {"recipe": digest_of(name)}
    return Pod(config, pod.folder.parent / f"{pod.folder.name}-{name}")
