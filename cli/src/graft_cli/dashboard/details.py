"""What the page of one adapter, or of one base, shows besides its row of the list."""

from __future__ import annotations

from dataclasses import dataclass

from graft_cli.client.objects import Adapter, Base
from graft_cli.decisions.versions import Difference, differences, uses, version_of
from graft_cli.decisions.yaml_dialect.scalars import as_yaml
from graft_operator.api.adapter_source import SourceStatus
from graft_operator.api.adapter_status import FailedTrainings, Version
from graft_operator.api.conditions import Condition


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A version, and what it is used for now: served, canary 10%, pinned."""

    version: Version
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterPage:
    """One adapter."""

    key: str
    conditions: tuple[Condition, ...]
    versions: tuple[VersionLine, ...]
    failed_trainings: FailedTrainings | None
    source: SourceStatus | None
    endpoint: str
    message: str
    """What the first of the failing pods says."""
    spec: str
    """The spec, as YAML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePage:
    """One base."""

    key: str
    conditions: tuple[Condition, ...]
    spec: str
    """The spec, as YAML."""


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """Two versions of an adapter."""

    before: int
    after: int
    rows: tuple[Difference, ...]


def adapter_page(key: str, adapter: Adapter) -> AdapterPage:
    """Return the page of an adapter."""
    status = adapter.status
    return AdapterPage(
        key=key,
        conditions=status.conditions,
        versions=tuple(VersionLine(version, uses(adapter, version)) for version in status.versions),
        failed_trainings=status.failed_trainings,
        source=status.source,
        endpoint=status.serving.endpoint or "",
        message=status.serving.message,
        spec=as_yaml(dict(adapter.spec)),
    )


def base_page(key: str, base: Base) -> BasePage:
    """Return the page of a base."""
    return BasePage(key=key, conditions=base.status.conditions, spec=as_yaml(dict(base.spec)))


def version_diff(adapter: Adapter, before: int, after: int) -> VersionDiff:
    """Return two versions side by side. Raises Refused where status tells nothing of one of them."""
    return VersionDiff(before, after, differences(version_of(adapter, before), version_of(adapter, after)))
