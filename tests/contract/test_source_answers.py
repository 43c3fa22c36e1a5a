"""Whatever the place of an adapter answers, looks and imports tell it of the source: none ends as a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graft_operator.manifests.jobs.exit_codes import RETRIED
from graft_registry import errors
from graft_registry.config import RegistryConfig
from graft_registry.errors import Corrupt, RegistryError, Unsafe
from graft_registry.oci.repository import Repository
from graft_registry.outcome import failure
from graft_registry.s3.store import ObjectStore
from graft_registry.sources.adapter_origins import resolve_adapter
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError
from graft_trainer.config import AdapterSourceConfig
from graft_trainer.importing.source import fetch_foreign_adapter
from graft_trainer.outcome import TrainingError, classify

REGISTRY = RegistryConfig(bucket="graft")
SPECIAL: dict[type[RegistryError], Callable[[], RegistryError]] = {
    Corrupt: lambda: Corrupt("key", "one", "another"),
    Unsafe: lambda: Unsafe("path", "why"),
}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RegistryError)]
PLACES: dict[str, tuple[dict[str, Any], type, str]] = {
    "a bucket": ({"s3": {"uri": "s3://models/support/"}}, ObjectStore, "list"),
    "an artefact": ({"oci": {"image": "ghcr.io/team/support:v3"}}, Repository, "manifest"),
}
PASSING = {errors.Unavailable}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("source", "place", "method"), PLACES.values(), ids=PLACES)
def test_what_a_place_answers_is_told_of_the_source(
    kind: type[RegistryError],
    source: dict[str, Any],
    place: type,
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(*_: object, **__: object) -> object:
        raise SPECIAL.get(kind, lambda: kind("the place's words"))()

    monkeypatch.setattr(place, method, answer)
    asked = AdapterSourceConfig.model_validate({"source": source, "digest": None})
    with pytest.raises(TrainingError) as imported:
        fetch_foreign_adapter(asked, REGISTRY, tmp_path / "adapter", {})
    with pytest.raises(SourceError) as looked:
        resolve_adapter(asked.source, SourceAccess(), REGISTRY, workspace=tmp_path)
    told, (seen, _) = classify(imported.value), failure(looked.value)
    assert told.reason.value == seen.reason
    assert told.field == seen.field
    assert str(told.field).startswith("spec.source.")
    assert str(seen.reason).startswith("Source")
    assert (seen.reason in RETRIED) == (kind in PASSING)
