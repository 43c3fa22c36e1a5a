"""Which version is meant, and where it lies."""

from __future__ import annotations

import json

import pytest
from tests.unit.cli.objects import adapter, version

from graft_cli.decisions.stored.references import VersionReference, failure, referenced_version, registry_document
from graft_cli.errors import ExitCode, Refused
from graft_operator.api.adapter_status import Version


def test_the_served_version_is_meant_unless_another_is_named() -> None:
    served = adapter(status={"served_version": 6, "versions": (version(7), version(6))})
    assert referenced_version(served, None) == VersionReference(6, version(6).digest)
    assert referenced_version(served, 7) == VersionReference(7, version(7).digest)
    # Status keeps the newest; the registry holds them all.
    assert referenced_version(served, 1) == VersionReference(1, None)


@pytest.mark.parametrize(
    ("versions", "fix"),
    [
        ((), "`kubectl graft status support` tells what it waits for"),
        ((version(1, "Rejected"),), "version 1 was rejected by its gate; name it, as in `kubectl graft report support"),
        ((version(2, "RolledBack"), version(1)), "version 2 was rolled back; name it"),
        ((version(1),), "version 1 is published and not served; name it"),
        ((version(1, "Quarantined"),), "version 1 is Quarantined; name it"),
    ],
)
def test_who_serves_nothing_is_told_what_became_of_its_version(versions: tuple[Version, ...], fix: str) -> None:
    with pytest.raises(Refused, match="support serves no version") as caught:
        referenced_version(adapter(status={"versions": versions, "served_version": None}), None)
    assert fix in caught.value.fix


def test_an_adapter_that_serves_nothing_has_no_version_to_take() -> None:
    with pytest.raises(Refused, match="serves no version") as caught:
        referenced_version(adapter(status={"served_version": None}), None)
    assert "name it, as in" in caught.value.fix


@pytest.mark.parametrize(
    ("option", "environ", "expected"),
    [
        ("s3://graft", {}, {"bucket": "graft", "prefix": ""}),
        ("s3://graft/a/b", {"GRAFT_REGISTRY": "other"}, {"bucket": "graft", "prefix": "a/b"}),
        ('{"bucket": "graft"}', {}, {"bucket": "graft"}),
        (None, {"GRAFT_REGISTRY": '{"bucket": "graft"}'}, {"bucket": "graft"}),
        (None, {"GRAFT_REGISTRY": "s3://graft/p"}, {"bucket": "graft", "prefix": "p"}),
    ],
)
def test_where_versions_lie(option: str | None, environ: dict[str, str], expected: dict[str, str]) -> None:
    assert json.loads(registry_document(option, environ)) == expected


def test_nobody_guesses_where_versions_lie() -> None:
    with pytest.raises(Refused) as caught:
        registry_document(None, {})
    assert "--registry s3://bucket/prefix" in caught.value.fix


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (66, ExitCode.NOT_FOUND),
        (68, ExitCode.UNREACHABLE),
        (77, ExitCode.FORBIDDEN),
        (73, ExitCode.FAILED),
        (1, ExitCode.FAILED),
    ],
)
def test_failures_have_the_plugin_s_own_codes(code: int, expected: ExitCode) -> None:
    error = failure(code, {"message": "why"}, "")
    assert (error.exit_code, error.message) == (expected, "why")
    assert failure(code, {}, "Traceback\nImportError: x").message.endswith("ImportError: x")
