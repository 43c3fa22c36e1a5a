"""How large the files of an adapter may be: what comes from outside is held to it before any of it is written. Pure."""

from collections.abc import Mapping
from typing import Final

from graft_registry.adapters.publishable import ADAPTER_CONFIG

LARGEST_CONFIG_BYTES: Final = 1 << 20
"""Real configurations have a few kB."""
LARGEST_WEIGHTS_BYTES: Final = 16 << 30
"""All weights of one adapter together. Those of rank 256 for the largest open models stay below."""


def byte_limit(name: str) -> int:
    """Return how many bytes one file of an adapter may have at most, whatever size its source claims."""
    return LARGEST_CONFIG_BYTES if name == ADAPTER_CONFIG else LARGEST_WEIGHTS_BYTES


def oversize(sizes: Mapping[str, int]) -> str | None:
    """Return what is wrong with the sizes of an adapter's files, in words that name file and bound; None if nothing is.

    Args:
        sizes: bytes by the files' names; what isn't the configuration is weights.
    """
    settings = sizes.get(ADAPTER_CONFIG, 0)
    if settings > LARGEST_CONFIG_BYTES:
        return f"{ADAPTER_CONFIG} has {settings} bytes, at most {LARGEST_CONFIG_BYTES} are read; PEFT's have a few kB"
    weights = {name: size for name, size in sizes.items() if name != ADAPTER_CONFIG}
    total = sum(weights.values())
    if total > LARGEST_WEIGHTS_BYTES:
        largest = max(weights, key=lambda name: weights[name])
        return (
            f"{largest} has {weights[largest]} bytes, of {total} that the weights have together, at most "
            f"{LARGEST_WEIGHTS_BYTES} are read; an adapter of that size is better merged into its base"
        )
    return None
