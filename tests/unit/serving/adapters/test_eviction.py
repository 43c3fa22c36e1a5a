"""Which folders give way, case by case. Capacities and sizes in bytes."""

import pytest

from graft_serving.adapters.eviction import CachedFolder, evictions

OLDEST, OLDER, NEWEST = (CachedFolder(name, size=10, used_at=used) for used, name in enumerate("abc"))
ALL = (NEWEST, OLDEST, OLDER)

CASES: dict[str, tuple[tuple[CachedFolder, ...], set[str], int, tuple[str, ...]]] = {
    "All fit.": (ALL, set(), 30, ()),
    "One byte is missing: the least recently used goes.": (ALL, set(), 29, ("a",)),
    "As many go as have to, the least recently used first.": (ALL, set(), 10, ("a", "b")),
    "What is kept stays, and the next one goes in its place.": (ALL, {"a"}, 20, ("b",)),
    "What is kept stays even if it doesn't fit.": (ALL, {"a", "b", "c"}, 0, ()),
    "Without room for any, all go that may.": (ALL, {"b"}, 0, ("a", "c")),
    "A large old folder makes room for small ones.": ((CachedFolder("big", 100, -1.0), *ALL), set(), 30, ("big",)),
    "Nothing is there.": ((), set(), 0, ()),
}


@pytest.mark.parametrize(("folders", "kept", "capacity", "evicted"), CASES.values(), ids=CASES.keys())
def test_evictions(folders: tuple[CachedFolder, ...], kept: set[str], capacity: int, evicted: tuple[str, ...]) -> None:
    assert evictions(folders, kept, capacity) == evicted
