"""Names of the objects that we own. Each says what the object is for, and is the same whenever it is computed."""

from __future__ import annotations

from typing import Final

from graft_registry.digests import sha256_digest

SHORT: Final = 8
"""Hex digits of a digest in a name: enough within one adapter or base, short enough for 63 characters."""

LABEL_LIMIT: Final = 63
"""Characters of a label's value, in which the Job controller writes the name of a pod's Job."""

NAME_LIMIT: Final = 40
"""Characters of an owner's name in the name of what it owns: suffixes need the other 23 of 63."""

API_PORT: Final = 8000
PEER_PORT: Final = 8002
STATE_PORT: Final = 8090
ENGINE_PORT: Final = 8001

IP_FAMILIES: Final = "PreferDualStack"
"""Of Services: both families where the cluster has both, and otherwise the one that it has."""


def peer_url(host: str) -> str:
    """Return where a pod answers what other pods of its base send to it."""
    return f"http://{host}:{PEER_PORT}"


def short(digest: str) -> str:
    """Return the first hex digits of ``sha256:…``."""
    return digest.removeprefix("sha256:")[:SHORT]


def training_job_name(adapter: str, recipe: str, lowered_batch: int | None = None) -> str:
    """Return the name of the Job that trains this recipe, at most 60 characters.

    A micro-batch that was lowered for want of memory has a Job of its own, so that the one before can tell of it.
    """
    name = f"{shortened(adapter)}-train-{short(recipe)}"
    return name if lowered_batch is None else f"{name}-b{lowered_batch}"


def preparation_job_name(adapter: str, recipe: str) -> str:
    """Return the name of the Job that prepares the rows of this recipe, at most 57 characters."""
    return f"{shortened(adapter)}-prepare-{short(recipe)}"


def adapter_import_job_name(adapter: str, recipe: str) -> str:
    """Return the name of the Job that imports an adapter, at most 56 characters."""
    return f"{shortened(adapter)}-import-{short(recipe)}"


def resolve_job_name(adapter: str, source_digest: str) -> str:
    """Return the name of the Job that looks at an adapter's source, at most 57 characters."""
    return f"{shortened(adapter)}-resolve-{short(source_digest)}"


def rendezvous_name(adapter: str) -> str:
    """Return the name of the Service through which the pods of a training find one another, at most 54 characters."""
    return f"{shortened(adapter)}-train-workers"


def shortened(name: str, limit: int = NAME_LIMIT) -> str:
    """Return a name of at most ``limit`` characters; a digest keeps two long names with one beginning apart."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - SHORT - 1].rstrip('-')}-{short(sha256_digest(name.encode()))}"


def import_job_name(base: str, source_digest: str) -> str:
    """Return the name of the Job that resolves this source."""
    return f"{serving_name(base)}-import-{short(source_digest)}"


def concurrency_job_name(base: str, digest: str) -> str:
    """Return the name of the Job that asks all adapters of a base at once, at most 63 characters."""
    suffix = f"-concurrency-{short(digest)}"
    return f"{shortened(serving_name(base), LABEL_LIMIT - len(suffix))}{suffix}"


def serving_name(base: str) -> str:
    """Return the name of what serves a base as a whole; the prefix keeps clear of the user's own Services."""
    return f"graft-{base}"


def merged_name(adapter: str) -> str:
    """Return the name of what serves an adapter's merged model, at most 53 characters."""
    return f"graft-{shortened(adapter)}-merged"


def merged_url(namespace: str, adapter: str) -> str:
    """Return the URL of the OpenAI API of an adapter's merged model, inside the cluster."""
    return f"http://{merged_name(adapter)}.{namespace}.svc:{API_PORT}"


def revision_name(base: str, base_digest: str) -> str:
    """Return the name of what serves one revision of a base."""
    return f"{serving_name(base)}-{short(base_digest)}"


def service_url(namespace: str, base: str, base_digest: str = "") -> str:
    """Return the URL of the OpenAI API of a base, or of one revision of it, inside the cluster."""
    name = revision_name(base, base_digest) if base_digest else serving_name(base)
    return f"http://{name}.{namespace}.svc:{API_PORT}"
