"""A published version in a real bucket, and places to bring it to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.distribution import PROGRAM, distribution
from tests.unit.registry.builders import version_draft, write_adapter
from tests.wire.registry.conftest import _credentials, _run_moto, administrator, config, container, store
from tests.wire.registry.container import Container

from graft_registry.digests import digest_of
from graft_registry.documents import BaseReference, BaseSource, Metrics
from graft_registry.documents.base import HuggingFaceSource
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion

__all__ = ["_credentials", "administrator", "config", "container", "store"]

CARD = """---
base_model: tiny
tags:
- graft
- lora
license: apache-2.0
---

# support

A LoRA adapter.
"""


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """One S3 server: what is different about others, an export doesn't meet."""
    yield from _run_moto()


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("GRAFT_DISTRIBUTION names no registry (make test-oci)")
    with distribution(tmp_path_factory.mktemp("distribution")) as address:
        yield address


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A version's files as a trainer writes them."""
    directory = write_adapter(tmp_path / "adapter", base_model_name_or_path="tiny@sha256:0")
    (directory / "README.md").write_text(CARD)
    (directory / "report.html").write_text("<!doctype html><title>support</title>")
    return directory


def draft(recipe: str = "recipe", **overrides: Any) -> Any:
    base = BaseReference(
        name="tiny",
        revision="0123456789abcdef0123456789abcdef01234567",
        digest=digest_of("base"),
        source=BaseSource(hugging_face=HuggingFaceSource(repo="acme/tiny")),
    )
    metrics = Metrics(eval_loss=0.5, base_eval_loss=2.0, exact_match=0.75)
    return version_draft(recipe, **{"base": base, "metrics": metrics, **overrides})


@pytest.fixture
def version(store: ObjectStore, files: Path) -> StoredVersion:
    return AdapterRegistry(store, "team-a", "support").publish(draft(), files)


class Exporter:
    """``python -m graft_registry export``, as a Job runs it."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def __call__(self, to: str, *more: str, **variables: str) -> tuple[int, dict[str, Any]]:
        return self._container.run(
            "export", "--namespace=team-a", "--adapter=support", f"--to={to}", *more, **variables
        )


@pytest.fixture
def export(container: Container, version: StoredVersion) -> Exporter:
    return Exporter(container)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def parsed(file: Path) -> Any:
    return json.loads(file.read_bytes())
