"""Decodes only the fields of Kueue's Workloads that are read here. Pure.

Most Workloads are other people's, and all hold whole pod templates of up to a megabyte and more, which nobody here
reads. The decoder skips those in the bytes, without making objects of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

Object = dict[str, Any]

OWNERS_KEPT: Final = 4
"""A Job's Workload has one owner; that of a group of pods has all of them, and anybody may write as many as fit."""


class _Owner(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class _Metadata(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    owner_references: list[_Owner] | None = None

    def __post_init__(self) -> None:
        self.owner_references = self.owner_references and self.owner_references[:OWNERS_KEPT]


class _Spec(msgspec.Struct, rename="camel", omit_defaults=True):
    queue_name: Any = None
    active: Any = None


class _Status(msgspec.Struct, rename="camel", omit_defaults=True):
    conditions: Any = None
    admission_checks: Any = None


class _Workload(msgspec.Struct, omit_defaults=True):
    metadata: _Metadata
    spec: _Spec | None = None
    status: _Status | None = None


class _Page(msgspec.Struct):
    metadata: dict[str, Any] | None = None
    items: list[_Workload] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_pages, _events, _workloads = map(msgspec.json.Decoder, (_Page, _Event, _Workload))


def page_of(content: bytes) -> Object:
    """Return one page of a listing. Raises msgspec.DecodeError for what is none."""
    page: Object = msgspec.to_builtins(_pages.decode(content))
    return page


def event_of(line: bytes) -> Object:
    """Return one event of a watch. Raises msgspec.DecodeError for what is none."""
    event = _events.decode(line)
    if event.type == "ERROR":  # its object is a Status
        return {"type": event.type, "object": msgspec.json.decode(event.object)}
    return {"type": event.type, "object": msgspec.to_builtins(_workloads.decode(event.object))}


def read_of(body: Mapping[str, Any]) -> Object:
    """Return what is read of a whole Workload."""
    found: Object = msgspec.to_builtins(msgspec.convert(body, _Workload))
    return found
