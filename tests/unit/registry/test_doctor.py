"""What the doctor makes of answers: the pure part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from graft_registry.config import RegistryConfig
from graft_registry.doctor.bucket_rules import lifecycle
from graft_registry.doctor.connection import clock
from graft_registry.doctor.objects import condition
from graft_registry.doctor.requests import Attempt
from graft_registry.doctor.table import table
from graft_registry.documents import Finding, StoreReport
from graft_registry.s3.s3_client import has_name, s3_options

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def failed(status: int, code: str = "", operation: str = "PutObject") -> Attempt:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return Attempt(error=ClientError(response, operation))


WORKED = Attempt()


@pytest.mark.parametrize(
    ("first", "second", "found", "honoured"),
    [
        (WORKED, failed(412, "PreconditionFailed"), "honoured (412)", True),
        (WORKED, failed(409, "ConditionalRequestConflict"), "honoured (409)", True),
        (WORKED, WORKED, "ignored", False),
        (failed(501, "NotImplemented"), failed(501, "NotImplemented"), "refused (501 NotImplemented)", False),
        (failed(400, "InvalidArgument"), failed(400), "refused (400 InvalidArgument)", False),
        (failed(304, "304"), failed(304, "304"), "refused (304 304)", False),
        (WORKED, failed(304, "304"), "refused (304 304)", False),
    ],
)
def test_a_condition_is_honoured_only_where_the_second_write_fails_for_it(
    first: Attempt, second: Attempt, found: str, honoured: bool
) -> None:
    finding, safe = condition(first, second)
    assert (finding.found, safe) == (found, honoured)
    assert finding.verdict == ("Ok" if honoured else "Warning")


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [
        (timedelta(seconds=20), "Ok"),
        (timedelta(minutes=-2), "Warning"),
        (timedelta(minutes=14), "Warning"),
        (timedelta(minutes=16), "Failed"),
        (timedelta(hours=-3), "Failed"),
    ],
)
def test_clocks_may_be_a_little_apart(apart: timedelta, verdict: str) -> None:
    headers = {"date": format_datetime(NOW + apart, usegmt=True)}
    assert clock(Attempt({"ResponseMetadata": {"HTTPHeaders": headers}}), NOW).verdict == verdict


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_a_clock_that_is_not_told_is_no_trouble(headers: dict[str, str]) -> None:
    assert clock(Attempt({"ResponseMetadata": {"HTTPHeaders": headers}}), NOW).verdict == "Note"


EXPIRES = {"Expiration": {"Days": 30}}


@pytest.mark.parametrize(
    ("rule", "harms"),
    [
        ({"Filter": {"Prefix": ""}, **EXPIRES}, True),
        ({"Filter": {}, **EXPIRES}, True),
        ({"Prefix": "graft", **EXPIRES}, True),
        ({"Filter": {"Prefix": "graft/team-a/adapters/"}, **EXPIRES}, True),
        ({"Filter": {"And": {"Prefix": "graft/", "ObjectSizeGreaterThan": 1}}, "Expiration": {"Date": NOW}}, True),
        ({"Filter": {"Prefix": "graft/"}, "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}]}, True),
        ({"Filter": {"Prefix": "graft/"}, "Transitions": [{"Days": 1, "StorageClass": "STANDARD_IA"}]}, False),
        ({"Filter": {"Prefix": "logs/"}, **EXPIRES}, False),
        ({"Filter": {"Prefix": "graft/.probe/"}, **EXPIRES}, False),
        ({"Filter": {"Tag": {"Key": "temporary", "Value": "true"}}, **EXPIRES}, False),
        ({"Filter": {"And": {"Prefix": "", "Tags": [{"Key": "temporary", "Value": "true"}]}}, **EXPIRES}, False),
        ({"Filter": {"Prefix": ""}, "Expiration": {"ExpiredObjectDeleteMarker": True}}, False),
        ({"Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}, False),
        ({"Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}, False),
    ],
)
def test_a_lifecycle_rule_harms_where_it_deletes_or_archives_what_is_ours(rule: dict[str, Any], harms: bool) -> None:
    enabled, disabled = ({"Rules": [{"ID": "rule", "Status": status, **rule}]} for status in ("Enabled", "Disabled"))
    assert any(finding.verdict == "Failed" for finding in lifecycle(Attempt(enabled), "graft/")) is harms
    assert not any(finding.verdict == "Failed" for finding in lifecycle(Attempt(disabled), "graft/"))


@pytest.mark.parametrize("status", [404, 501, 403, 400])
def test_rules_that_are_not_there_or_may_not_be_seen_are_no_trouble(status: int) -> None:
    findings = lifecycle(failed(status, operation="GetBucketLifecycleConfiguration"), "graft/")
    assert {finding.verdict for finding in findings} <= {"Ok", "Note"}


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        ("https://s3.example.com", True),
        ("https://10.0.0.1:9000", False),
        ("https://[fd00::1]:9000", False),
        ("http://minio:9000", False),
    ],
)
def test_only_a_name_can_have_a_bucket_before_it(endpoint: str, named: bool) -> None:
    assert has_name(endpoint) is named
    config = RegistryConfig(endpoint=endpoint, bucket="graft", force_path_style=False)
    assert s3_options(config)["addressing_style"] == ("virtual" if named else "auto")


def test_people_see_what_follows_and_what_mends_it() -> None:
    findings = (
        Finding(check="reach", found="answers"),
        Finding(check="right s3:PutObject", found="no", verdict="Failed", follows="nothing works", fix="allow it"),
    )
    lines = table(StoreReport(endpoint="https://s3", bucket="graft", findings=findings)).splitlines()
    assert lines[0] == "https://s3  graft"
    assert lines[1].split() == ["✓", "reach", "answers"]
    assert [line.strip() for line in lines[3:5]] == ["so: nothing works", "fix: allow it"]
    assert lines[-1] == "Graft can't work with this store as it is: 1 missing, 0 to know of"
