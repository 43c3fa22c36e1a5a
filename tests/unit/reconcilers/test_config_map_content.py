"""Rows in a ConfigMap have the digest of the file that the trainer's pod sees."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from graft_operator.reconcilers.snapshots.dataset_digests import config_map_content


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
