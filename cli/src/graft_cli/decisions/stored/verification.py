"""Compares the versions in the bucket with what status tells of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from graft_cli.client.objects import Adapter
from graft_operator.api.adapter_status import Version
from graft_registry.documents import CheckedObject, VersionCheck

Verdict = Literal["Same", "Differs", "Missing", "NotAllowed"]
BASE, MANIFEST = "base", "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedObject:
    """One object of a version, or the base that it names."""

    object: str
    """Path in the version."""
    key: str = ""
    """In the bucket, below the registry's prefix."""
    size: int | None = None
    verdict: Verdict
    expected: str | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedVersion:
    """A version, and what became of its objects."""

    number: int
    objects: tuple[VerifiedObject, ...]
    told: bool
    """Whether status tells of it, so that digests of manifest and base are known from elsewhere, too."""

    @property
    def is_whole(self) -> bool:
        """Whether everything is what was published."""
        return all(item.verdict == "Same" for item in self.objects)


def verified(adapter: Adapter, checks: Iterable[VersionCheck], *, every: bool) -> tuple[VerifiedVersion, ...]:
    """Return the versions, the newest first; with ``every`` those as well that status tells of and the bucket lacks."""
    told = {version.number: version for version in adapter.status.versions}
    found = {check.number: check for check in checks}
    numbers = found.keys() | (told.keys() if every else set())
    return tuple(_verified(number, found.get(number), told.get(number)) for number in sorted(numbers, reverse=True))


def _verified(number: int, check: VersionCheck | None, told: Version | None) -> VerifiedVersion:
    if check is None:
        missing = VerifiedObject(object=MANIFEST, verdict="Missing", expected=told.digest if told else None)
        return VerifiedVersion(number=number, objects=(missing,), told=True)
    objects = tuple(_with_status(item, told) for item in map(_plain, check.objects))
    if told is not None and check.base_digest is not None:
        same: Verdict = "Same" if check.base_digest == told.base_digest else "Differs"
        base = VerifiedObject(object=BASE, verdict=same, expected=told.base_digest, found=check.base_digest)
        objects = (*objects, base)
    return VerifiedVersion(number=number, objects=objects, told=told is not None)


def _plain(item: CheckedObject) -> VerifiedObject:
    return VerifiedObject(
        object=item.path,
        key=item.key,
        size=item.size,
        verdict=item.verdict,
        expected=item.expected,
        found=item.found,
    )


def _with_status(item: VerifiedObject, told: Version | None) -> VerifiedObject:
    """A manifest has to be the one that status tells of: whoever may write the bucket can make another whole one."""
    if item.object != MANIFEST or told is None or item.verdict != "Same" or item.found == told.digest:
        return item
    return VerifiedObject(object=MANIFEST, key=item.key, verdict="Differs", expected=told.digest, found=item.found)
