"""From a changed object to the keys that should be reconciled. Pure: bodies in, keys out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from graft_operator.engine.keys import AdapterKey, BaseKey, Key
from graft_operator.manifests import labels
from graft_operator.manifests.serving import SERVING

_KEY_TYPES: Final[Mapping[str, type[AdapterKey] | type[BaseKey]]] = {
    AdapterKey.kind: AdapterKey,
    BaseKey.kind: BaseKey,
}

COUNTED: Final = frozenset({"UpToDate", "Stalled"})
"""Conditions of adapters that their base sums up."""
TOLD_BY_PODS: Final = frozenset({"desired", "loaded", "failed", "message", "endpoint"})
"""Parts of an adapter's `status.serving` that only say how far the pods are; their base asks them itself."""
SUMMARIES: Final = frozenset({"observedGeneration", "conditions", "adapters"})
"""Parts of a base's status that only sum up."""
NOT_RESIDENT: Final = "notResident"
"""Part of a base's `status.serving` that concerns only the adapters that come to it or leave it."""


class AdaptersByBase:
    """Which adapters name which base, and what each side last showed to the other, as far as events have told.

    Only a map for fan-out, never a proof of existence: a deletion may go unnoticed, and a phantom entry costs one
    reconcile that finds nothing.
    """

    def __init__(self) -> None:
        self._base_of: dict[AdapterKey, BaseKey] = {}
        self._adapters_of: defaultdict[BaseKey, set[AdapterKey]] = defaultdict(set)
        self._shown: dict[Key, Any] = {}
        self._absent: dict[BaseKey, frozenset[tuple[str, str]]] = {}

    def moved(self, base: BaseKey, absent: frozenset[tuple[str, str]]) -> list[AdapterKey]:
        """Remember which adapters have no place, by revision; return those for which that is another one now."""
        before = self._absent.get(base, frozenset())
        self._absent[base] = absent
        return [AdapterKey(base.namespace, name) for name in sorted({name for _, name in before ^ absent})]

    def shows_news(self, key: Key, shown: Any) -> bool:
        """Remember what others read of an object; tell whether it differs from the last time."""
        is_news = key not in self._shown or self._shown[key] != shown
        self._shown[key] = shown
        return is_news

    def forget(self, key: Key) -> None:
        """Forget what an object has shown, because it is gone."""
        self._shown.pop(key, None)
        if isinstance(key, BaseKey):
            self._absent.pop(key, None)

    def put(self, adapter: AdapterKey, base: BaseKey | None) -> None:
        """Remember the adapter's present base, instead of an earlier one; None if it has none or is deleted."""
        former = self._base_of.pop(adapter, None)
        if former is not None:
            self._adapters_of[former].discard(adapter)
            if not self._adapters_of[former]:
                del self._adapters_of[former]
        if base is not None:
            self._base_of[adapter] = base
            self._adapters_of[base].add(adapter)

    def base_of(self, adapter: AdapterKey) -> BaseKey | None:
        """Return the base that the adapter was last seen to name."""
        return self._base_of.get(adapter)

    def adapters_of(self, base: BaseKey) -> list[AdapterKey]:
        """Return the adapters that name the base, sorted."""
        return sorted(self._adapters_of.get(base, ()))

    def replace_all(self, bases: Mapping[AdapterKey, BaseKey | None]) -> None:
        """Forget everything and start from a fresh listing."""
        self._base_of.clear()
        self._adapters_of.clear()
        for adapter, base in bases.items():
            self.put(adapter, base)


def adapter_key(body: Mapping[str, Any]) -> AdapterKey:
    """Return the key of a LoraAdapter object."""
    return AdapterKey(body["metadata"]["namespace"], body["metadata"]["name"])


def base_key(body: Mapping[str, Any]) -> BaseKey:
    """Return the key of a BaseModel object."""
    return BaseKey(body["metadata"]["namespace"], body["metadata"]["name"])


def base_named_by(adapter: Mapping[str, Any]) -> BaseKey | None:
    """Return the base that a LoraAdapter names, or None if its spec is not (yet) well-formed."""
    reference = (adapter.get("spec") or {}).get("baseModelRef") or {}
    name = reference.get("name")
    return BaseKey(adapter["metadata"]["namespace"], name) if name else None


def keys_of_adapter(known: AdaptersByBase, adapter: Mapping[str, Any], *, deleted: bool) -> Iterable[Key]:
    """Return the keys for a LoraAdapter event, and update `known`.

    Both the base named now and the one named before are included, since either counts its adapters; but only where the
    adapter shows something new to them. Most events are the operator's own writes of a status that no base reads.
    """
    key = adapter_key(adapter)
    former, current = known.base_of(key), base_named_by(adapter)
    known.put(key, None if deleted else current)
    is_news = known.shows_news(key, shown_to_base(adapter))
    if deleted:
        known.forget(key)
    elif not is_news:
        return [key]
    return [key, *dict.fromkeys(base for base in (former, current) if base is not None)]


def keys_of_base(known: AdaptersByBase, base: Mapping[str, Any], *, deleted: bool = False) -> Iterable[Key]:
    """Return the keys for a BaseModel event: the base and, where it shows something new to them, each adapter on it.

    Of adapters that are loaded on demand, a base full of them moves two at a time: the others need not look.
    """
    key = base_key(base)
    is_news, moved = known.shows_news(key, shown_to_adapters(base)), known.moved(key, absent_adapters(base))
    if deleted:
        known.forget(key)
    return [key, *known.adapters_of(key)] if is_news or deleted else [key, *moved]


def shown_to_base(adapter: Mapping[str, Any]) -> Any:
    """Return what a base reads of one of its adapters (`base_observer.adapter_of_base`): how it is to be served."""
    metadata, spec, status = adapter["metadata"], adapter.get("spec") or {}, adapter.get("status") or {}
    serving = {name: value for name, value in (status.get("serving") or {}).items() if name not in TOLD_BY_PODS}
    return (
        (metadata.get("uid"), "deletionTimestamp" in metadata),
        (spec.get("baseModelRef"), spec.get("serving")),
        serving,
        {item["type"]: item.get("status") for item in status.get("conditions") or () if item["type"] in COUNTED},
        status.get("training") is not None,
    )


def shown_to_adapters(base: Mapping[str, Any]) -> Any:
    """Return what adapters read of their base: all but what follows from the adapters themselves."""
    metadata, status = base["metadata"], base.get("status") or {}
    own = {name: value for name, value in status.items() if name not in SUMMARIES}
    own["serving"] = [
        {name: value for name, value in revision.items() if name != NOT_RESIDENT}
        for revision in own.get("serving") or ()
    ]
    return (metadata.get("uid"), "deletionTimestamp" in metadata), base.get("spec"), own


def absent_adapters(base: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Return digest and name of the adapters that are loaded on demand and have no place on a revision of the base."""
    revisions = (base.get("status") or {}).get("serving") or ()
    return frozenset((revision["digest"], name) for revision in revisions for name in revision.get(NOT_RESIDENT) or ())


def owner_key(child: Mapping[str, Any]) -> Key | None:
    """Return the key of the object that one of our children belongs to, or None if it is not marked as ours.

    The name stands in an annotation because names may have 253 characters and label values only 63.
    """
    metadata = child["metadata"]
    key_type = _KEY_TYPES.get((metadata.get("labels") or {}).get(labels.OWNER_KIND, ""))
    name = (metadata.get("annotations") or {}).get(labels.OWNER_NAME)
    return key_type(metadata["namespace"], name) if key_type is not None and name else None


def is_serving_pod(body: Mapping[str, Any]) -> bool:
    """Tell whether the pod runs a serving agent."""
    return (body["metadata"].get("labels") or {}).get(labels.COMPONENT) == SERVING
