"""Whether the version of a spec is imported or trained, and which base an import belongs to.

What the source holds belongs to the base that it was imported for. On that base it is imported; once the base has
changed, it depends on the spec:

| | onBaseChange Keep | Import |
|---|---|---|
| without a dataset | stays on its base, which is served on | imported onto the new base |
| with a dataset | trained on the new base | imported onto the new base |

Content that was imported for no base yet, because the source or what it holds is new, is imported for the present one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from graft_operator.api.adapter_source import ImportedVersion, SourceStatus
from graft_operator.api.adapter_status import Version
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests.jobs.adapter_source import location_digest, location_document
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.versions import is_given_up, known_versions, with_verdict
from graft_registry.documents import StoredVersion, VersionVerdict

History = Iterable[StoredVersion]
Verdicts = Mapping[int, VersionVerdict]
NO_VERDICTS: Final[Verdicts] = MappingProxyType({})


def source_digest(adapter: LoraAdapter) -> str | None:
    """Return the digest by which versions of the spec's source are known; None for a spec without one."""
    return location_digest(location_document(adapter.spec.source)) if adapter.spec.source else None


def known_source(adapter: LoraAdapter, history: History = ()) -> SourceStatus | None:
    """Return what is known of the spec's source: by the status or, in a cluster built anew, by the newest version.

    So what was imported is served before the source has been looked at again, and also where that is gone.
    """
    digest, known = source_digest(adapter), adapter.status.source
    if digest is None:
        return None
    if known is not None and known.source_digest == digest:
        return known
    newest = next(imports_of(adapter, None, history), None)
    if newest is None or newest.imported is None:
        return None
    content = newest.imported
    return SourceStatus(
        source_digest=digest, digest=content.digest, revision=content.revision, base_digest=newest.base_digest
    )


def content_to_import(adapter: LoraAdapter, history: History = ()) -> str | None:
    """Return the digest of the content that is to be imported; None for whatever is there."""
    source = adapter.spec.source
    if source is None or source.interval is None:
        return source.digest if source else None
    known = known_source(adapter, history)
    return known.digest if known else None


def is_unresolved(adapter: LoraAdapter, history: History = ()) -> bool:
    """Whether the source has to be looked at before anything can be imported from it."""
    source = adapter.spec.source
    return source is not None and source.interval is not None and content_to_import(adapter, history) is None


def imports_of(adapter: LoraAdapter, content: str | None, history: History = ()) -> Iterator[Version]:
    """Yield the versions that were imported from the spec's source, the newest first; of one content, if given."""
    digest, versions = source_digest(adapter), known_versions(adapter.status.versions, history)
    for version in sorted(versions, key=lambda item: item.number, reverse=True):
        if is_of(version.imported, digest, content):
            yield version


def is_of(imported: ImportedVersion | None, source: str | None, content: str | None) -> bool:
    """Whether a version was imported from that source, and of that content where that is told."""
    return imported is not None and imported.source_digest == source and content in (None, imported.digest)


def imported_for(adapter: LoraAdapter, history: History = ()) -> tuple[str, ...]:
    """Return the digests of the bases that the source's content was imported for, the newest import's first."""
    known, content = known_source(adapter, history), content_to_import(adapter, history)
    is_known = known is not None and content in (None, known.digest)
    remembered = [known.base_digest] if known is not None and is_known and known.base_digest is not None else []
    imported = (version.base_digest for version in imports_of(adapter, content, history))
    return tuple(dict.fromkeys([*remembered, *imported]))


def homes(adapter: LoraAdapter, history: History = (), verdicts: Verdicts = NO_VERDICTS) -> tuple[str, ...]:
    """Return the digests of the bases that the adapter may stay on: first the one on which it is served.

    A base on which its content was given up is none, unless there is no other: nobody asked to move it elsewhere.
    """
    bases, content = imported_for(adapter, history), content_to_import(adapter, history)
    fit: dict[str, bool] = {}
    for version in imports_of(adapter, content, history):
        is_good = not is_given_up(with_verdict(version, verdicts.get(version.number)))
        fit[version.base_digest] = fit.get(version.base_digest, False) or is_good
    kept = [base for base in bases if fit.get(base, True)] or bases
    target = adapter.status.serving.target
    served = target.base_digest if target is not None else None
    return tuple(sorted(kept, key=lambda base: base != served))


def is_imported_on(adapter: LoraAdapter, base_digest: str, history: History = ()) -> bool:
    """Whether the adapter's version on a base is imported, and not trained."""
    source = adapter.spec.source
    if source is None:
        return False
    if adapter.spec.dataset is None or source.on_base_change == "Import":
        return True
    known = imported_for(adapter, history)  # also where it was given up: what is trained since goes on to be trained
    return not known or base_digest in known


def is_bound(adapter: LoraAdapter, base_digest: str, history: History = (), verdicts: Verdicts = NO_VERDICTS) -> bool:
    """Whether the adapter stays on an earlier base than the given one, since nobody said how it gets onto this one."""
    source = adapter.spec.source
    if source is None or adapter.spec.dataset is not None or source.on_base_change == "Import":
        return False
    known = homes(adapter, history, verdicts)
    return bool(known) and base_digest not in known


def is_import(seen: AdapterSnapshot) -> bool:
    """Whether the version that the spec asks for now is imported, and not trained."""
    base = seen.training_base
    return is_imported_on(seen.adapter, base.digest if base is not None else "", seen.history)
