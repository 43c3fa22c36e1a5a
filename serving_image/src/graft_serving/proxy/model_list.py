"""The answer to `GET /v1/models`: what clients may name, in OpenAI's shape, with what Graft knows of it. Pure."""

from typing import Any

from graft_serving.proxy import routing
from graft_serving.proxy.routing import Alias, RoutingTable


def model_list(table: RoutingTable, *, base_digest: str) -> dict[str, Any]:
    """The base and every alias that is answered, here, by another pod, or by another Service, or will be when asked.

    `root` names the version that most requests get, `parent` the base, as vLLM's own list does. The object `graft`
    holds the whole route of an alias; it is empty where others answer.
    """
    base = {"name": table.base_name, "digest": base_digest}
    cards = [_card(table.base_name, root=f"{table.base_name}@base", parent=None, graft={"base": base, "route": []})]
    for name, alias in sorted(table.aliases.items()):
        if alias.live or alias.peers or alias.forward_to or alias.on_demand:
            root = routing.heaviest(alias.live).version.label if alias.live else name
            cards.append(_card(name, root=root, parent=table.base_name, graft={"base": base, "route": _route(alias)}))
    return {"object": "list", "data": cards}


def _route(alias: Alias) -> list[dict[str, Any]]:
    return [
        {
            "version": share.version.label,
            "number": share.version.number,
            "manifestDigest": share.version.manifest_digest,
            "weight": share.weight,
        }
        for share in alias.live
    ]


def _card(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "graft", **fields}
