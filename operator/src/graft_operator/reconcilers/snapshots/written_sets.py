"""The wanted sets that were last written, parsed once for each version of their ConfigMaps."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graft_operator.cluster import Cache
from graft_operator.cluster.resources import CONFIG_MAPS
from graft_operator.manifests.workloads.serving import WANTED_KEY
from graft_operator.plan.snapshot import Decision
from graft_registry.digests import sha256_digest

KEPT: Final = 256
"""Parsed sets: a base has one for each revision that it serves."""


@dataclass(frozen=True, slots=True)
class WrittenSet:
    """What one revision's pods were last told."""

    digest: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """What it decides for each adapter, by name."""


class WrittenSets:
    """Reads wanted sets from the cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._parsed: OrderedDict[tuple[str, str], tuple[tuple[str, int], WrittenSet]] = OrderedDict()

    def of(self, namespace: str, name: str) -> WrittenSet:
        """Return the set in the ConfigMap of that name; an empty one where there is none, or none that can be read."""
        version = self._cache.version(CONFIG_MAPS, namespace, name)
        if version is None:
            return WrittenSet()
        known = self._parsed.get((namespace, name))
        if known is None or known[0] != version:
            body = self._cache.get(CONFIG_MAPS, namespace, name) or {}
            known = self._parsed[namespace, name] = (version, parsed((body.get("data") or {}).get(WANTED_KEY, "")))
            if len(self._parsed) > KEPT:
                self._parsed.popitem(last=False)
        return known[1]


def parsed(text: str) -> WrittenSet:
    """Return the set that a text holds. An earlier release may have written it, or a person: it is about to be
    written anew then.
    """
    try:
        document = json.loads(text)
        decisions = {entry["name"]: decision_of(entry["decision"]) for entry in document["adapters"]}
    except (ValueError, LookupError, TypeError):
        return WrittenSet()
    return WrittenSet(sha256_digest(text.encode()), document, decisions)


def decision_of(decided: Mapping[str, Any]) -> Decision:
    """Return the decision of one entry."""
    return decided["target"], decided["previous"], decided["weight"]
