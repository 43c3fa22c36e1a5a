"""Which version of the registry is meant, and where versions lie. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_cli.client.objects import Adapter
from graft_cli.decisions.versions import told_version
from graft_cli.errors import Forbidden, GraftError, NotFound, Refused, Unreachable

REGISTRY: Final = "GRAFT_REGISTRY"
_ERRORS: Final[Mapping[int, type[GraftError]]] = {66: NotFound, 68: Unreachable, 77: Forbidden}
"""What the registry's program ends with (``python -m graft_registry``), as the plugin's own errors."""
BECAME: Final[Mapping[str, str]] = {
    "Published": "is published and not served",
    "Rejected": "was rejected by its gate",
    "Refused": "was refused by the serving pods",
    "RolledBack": "was rolled back",
}
"""What has become of a version, by its state in status."""
_FIXES: Final[Mapping[int, str]] = {
    64: "see `--help` of the verb and docs/export.md",
    66: "`kubectl graft history` lists versions; is --registry the registry of this cluster?",
    68: "try again later, or set AWS_ENDPOINT_URL to your store's address",
    73: "name another place, or give --overwrite",
    77: "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (those of the Secret graft-registry), and AWS_ENDPOINT_URL"
    " for a store beside AWS; docs/export.md says which login other places take",
}


@dataclass(frozen=True, slots=True)
class VersionReference:
    """A version by its number, and the digest that status knows it by; None where status doesn't tell."""

    number: int
    digest: str | None = None


def referenced_version(adapter: Adapter, number: int | None) -> VersionReference:
    """Return the version that is meant: ``number``, or the one that is served. Raises Refused where none is."""
    wanted = number if number is not None else adapter.status.served_version
    if wanted is None:
        raise Refused(f"{adapter.metadata.name} serves no version", fix=_instead_of_served(adapter))
    known = told_version(adapter, wanted)
    return VersionReference(wanted, known.digest if known is not None else None)


def _instead_of_served(adapter: Adapter) -> str:
    """Return what to do where no version is served, which may never be."""
    name = adapter.metadata.name
    newest = max(adapter.status.versions, key=lambda version: version.number, default=None)
    if newest is None:
        return f"it has none yet: `kubectl graft status {name}` tells what it waits for"
    became = BECAME.get(newest.state, f"is {newest.state}")
    return f"version {newest.number} {became}; name it, as in `kubectl graft report {name} v{newest.number}`"


def registry_document(option: str | None, environ: Mapping[str, str]) -> str:
    """Return the JSON that says where versions lie. Raises Refused where nothing does."""
    text = option or environ.get(REGISTRY)
    if not text:
        fix = f"give --registry s3://bucket/prefix, the chart's registry.bucket and registry.prefix, or set {REGISTRY}"
        raise Refused("the API server does not tell where versions lie", fix=fix)
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if text.startswith("s3://"):
        return json.dumps({"bucket": bucket, "prefix": prefix})
    return text


def failure(code: int, outcome: Mapping[str, Any], output: str) -> GraftError:
    """Return the error of a run that has ended with ``code``; ``output`` is what it said otherwise."""
    message = str(outcome.get("message") or output.strip()[-2000:] or f"the registry's program ended with code {code}")
    return _ERRORS.get(code, GraftError)(message, fix=_FIXES.get(code, ""))
