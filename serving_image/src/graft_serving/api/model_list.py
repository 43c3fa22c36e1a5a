"""The answer to `GET /v1/models`: what clients may name, in OpenAI's shape, with what Graft knows of it. Pure."""

from collections.abc import Iterator
from typing import Any

from graft_serving.proxy import routing
from graft_serving.proxy.routing import Alias, RoutingTable
from graft_serving.versions import Route, Share, VersionKey


def model_cards(table: RoutingTable, *, base_digest: str) -> Iterator[dict[str, Any]]:
    """The base and every alias that is answered, here, by another pod, or by another Service, or will be when asked.

    `root` names the version that most requests get, `parent` the base, as vLLM's own list does. The object `graft`
    holds the whole route of an alias; it is empty where others answer.
    """
    for name in _base_first(table):
        if (card := model_card(table, name, base_digest=base_digest)) is not None:
            yield card


def model_card(table: RoutingTable, name: str, *, base_digest: str) -> dict[str, Any] | None:
    """One entry of the list, which is also the answer to `GET /v1/models/{name}`; None if it isn't there.

    A name such as `support@v7` is in no list, and has an entry where that version can answer.
    """
    base = {"name": table.base_name, "digest": base_digest}
    if name == table.base_name and table.has_base:
        return _card(name, root=f"{name}@base", parent=None, graft={"base": base, "route": []})
    adapter, number = routing.named(name)
    alias = table.aliases.get(adapter)
    if alias is not None and number is not None:
        if (key := alias.loaded.get(number)) is None:
            return None
        route = [_version(key, weight=100)]
        return _card(name, root=name, parent=table.base_name, graft={"base": base, "route": route})
    if alias is None or not (alias.live or alias.peers or alias.forward_to or alias.on_demand):
        return None
    root = _heaviest(alias.live).version.label if alias.live else name
    return _card(name, root=root, parent=table.base_name, graft={"base": base, "route": _route(alias)})


def _heaviest(route: Route) -> Share:
    """The share that gets most of the traffic; the newest one among equals."""
    return max(route, key=lambda share: (share.weight, share.version.number))


def _base_first(table: RoutingTable) -> list[str]:
    return sorted(table.names, key=lambda name: (name != table.base_name, name))


def _route(alias: Alias) -> list[dict[str, Any]]:
    return [_version(share.version, weight=share.weight) for share in alias.live]


def _version(key: VersionKey, *, weight: int) -> dict[str, Any]:
    return {"version": key.label, "number": key.number, "manifestDigest": key.manifest_digest, "weight": weight}


def _card(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "graft", **fields}
