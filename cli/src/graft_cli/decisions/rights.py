"""The rights that each verb needs, by Kubernetes' own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graft_operator.api.meta import GROUP


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource, in a namespace."""

    verb: str
    resource: str
    group: str = GROUP

    def __str__(self) -> str:
        name, _, subresource = self.resource.partition("/")
        full = f"{name}.{self.group}" if self.group else name
        return f"{self.verb} {full}{f'/{subresource}' if subresource else ''}"


LIST_ALL: Final = (Right("list", "basemodels"), Right("list", "loraadapters"))
READ_ADAPTER: Final = (Right("get", "loraadapters"),)
CHANGE: Final = (*READ_ADAPTER, Right("patch", "loraadapters"))
LOGS: Final = (
    *READ_ADAPTER,
    Right("get", "basemodels"),
    Right("list", "pods", ""),
    Right("get", "pods/log", ""),
)
DASHBOARD: Final = (
    *LIST_ALL,
    Right("watch", "basemodels"),
    Right("watch", "loraadapters"),
    Right("list", "pods", ""),
    Right("get", "pods/proxy", ""),
    Right("get", "pods/log", ""),
)
CHAT: Final = (
    *READ_ADAPTER,
    Right("get", "basemodels"),
    Right("list", "pods", ""),
    Right("get", "pods/portforward", ""),
    Right("create", "pods/portforward", ""),
)

RIGHTS: Final[Mapping[str, tuple[Right, ...]]] = {
    "status": LIST_ALL,
    "dashboard": DASHBOARD,
    "history": READ_ADAPTER,
    "diff": READ_ADAPTER,
    "report": READ_ADAPTER,
    "chat": CHAT,
    "verify": READ_ADAPTER,
    "rollback": CHANGE,
    "pin": CHANGE,
    "unpin": CHANGE,
    "promote": CHANGE,
    "abort": CHANGE,
    "suspend": CHANGE,
    "resume": CHANGE,
    "retrain": CHANGE,
    "logs": LOGS,
    "export": READ_ADAPTER,
    "estimate": (Right("get", "basemodels"),),
}
"""What a verb needs in the namespace. ``lint`` and ``completion`` need nothing, ``estimate`` nothing with --base."""
