"""Which folders of the cache give way. Pure: no I/O, no clock."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CachedFolder:
    """One version's folder in the cache."""

    name: str
    size: int
    """Bytes of all its files."""
    used_at: float
    """When the version was last needed, as seconds since the epoch."""


def evictions(folders: Collection[CachedFolder], kept: Collection[str], capacity: int) -> tuple[str, ...]:
    """Name the folders that have to go, the least recently used first, until the rest fits.

    Args:
        folders: all that are on the disk.
        kept: names of folders that stay, whatever they take: wanted, or known to the engine.
        capacity: bytes that all folders together may take.
    """
    excess = sum(folder.size for folder in folders) - capacity
    evicted: list[str] = []
    for folder in sorted(folders, key=lambda folder: (folder.used_at, folder.name)):
        if excess <= 0:
            break
        if folder.name not in kept:
            evicted.append(folder.name)
            excess -= folder.size
    return tuple(evicted)
