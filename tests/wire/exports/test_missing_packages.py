"""Exports that need a package which isn't there."""

from __future__ import annotations

import sys

import pytest
from tests.wire.exports.conftest import Exporter


@pytest.mark.parametrize(
    ("to", "package"), [("mlflow://support", "mlflow"), ("wandb://a/b/c", "wandb"), ("hf://a/b", "huggingface_hub")]
)
def test_a_missing_package_is_named(to: str, package: str, export: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, message = export(to)
    assert (code, message["reason"]) == (64, "InvalidConfig")
    assert f"pip install {package}" in message["message"]
