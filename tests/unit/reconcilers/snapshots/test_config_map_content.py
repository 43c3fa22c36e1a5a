"""Rows in a ConfigMap have the digest of the file that the trainer's pod sees."""

from __future__ import annotations

import base64
from typing import Any
from unittest.mock import Mock

import pytest

from graft_operator.api.dataset import DatasetSource
from graft_operator.cluster.cache import Cache
from graft_operator.cluster.resources import Resource
from graft_operator.controller_runtime.keys import AdapterKey
from graft_operator.reconcilers.snapshots.dataset_digests import DatasetDigests, config_map_content


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ({"data": {"rows": "ü"}}, "ü".encode()),
        ({"data": {"other": "x"}, "binaryData": {"rows": base64.b64encode(b"PAR1\xff").decode()}}, b"PAR1\xff"),
        ({"data": {"rows": ""}}, b""),
        ({"data": {"other": "x"}}, None),
        ({}, None),
    ],
)
def test_the_content_is_the_files(body: dict[str, Any], content: bytes | None) -> None:
    assert config_map_content(body, "rows") == content


class NothingInIt(Cache):
    """A cluster in which no ConfigMap has been seen yet."""

    def version(self, resource: Resource, namespace: str, name: str) -> tuple[str, int] | None:
        return None


async def test_an_adapter_hears_of_the_config_maps_that_it_names_and_of_no_others() -> None:
    digests = DatasetDigests(Mock(), NothingInIt(), lambda _: None)
    adapter, other = AdapterKey("team-a", "support"), AdapterKey("team-a", "sales")

    def named_by(adapter: AdapterKey, rows: str, evaluation: str) -> None:
        digests.rows(adapter, from_config_map(rows), "spec.dataset")
        digests.rows(adapter, from_config_map(evaluation) if evaluation else None, "spec.dataset.evaluation")

    named_by(adapter, "a", "a")
    named_by(other, "a", "")
    assert digests.readers("team-a", "a") == {adapter, other}
    named_by(adapter, "b", "a")
    assert digests.readers("team-a", "a") == {adapter, other}
    assert digests.readers("team-a", "b") == {adapter}
    named_by(adapter, "b", "")
    assert digests.readers("team-a", "a") == {other}
    digests.forget(adapter)
    assert digests.readers("team-a", "a") == {other}
    assert digests.readers("team-a", "b") == set()


def from_config_map(name: str) -> DatasetSource:
    return DatasetSource.model_validate({"configMap": {"name": name, "key": "rows.jsonl"}})
