"""What the doctor says of stores, keys and buckets that lack something, and that it says it of nothing else."""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import boto3
import pytest
from tests.wire.registry.conftest import ACCESS_KEY, SECRET_KEY
from tests.wire.registry.stores.conftest import OpenStore
from tests.wire.registry.stores.store_kinds import MINIO, Answer, Refusal, Request, StoreKind, Told, asks_for, completes
from tests.wire.registry.stores.store_proxy import Upstream

from graft_registry.__main__ import main
from graft_registry.config import RegistryConfig
from graft_registry.digests import file_sha256
from graft_registry.documents import StoreReport
from graft_registry.errors import Unavailable
from graft_registry.s3.store import ObjectStore, Patience

ONCE = Patience(connect_seconds=30, read_seconds=60, attempts=1)


def refusing(*refusals: Refusal | Told) -> StoreKind:
    return replace(MINIO, refusals=refusals)


def denied(method: str, *parameters: str) -> Refusal:
    """Refuse a method, with one of these parameters or else with none of those that make it another operation."""

    def when(request: Request) -> bool:
        others = {
            "uploadId",
            "uploads",
            "delete",
            "list-type",
            "versioning",
            "object-lock",
            "lifecycle",
            "requestPayment",
        }
        return request.method == method and (
            bool(request.query.keys() & set(parameters)) if parameters else not request.query.keys() & others
        )

    return Refusal(when, 403, "AccessDenied", "Access Denied")


def missing_is_forbidden(request: Request, answer: Answer) -> Answer:
    refused = Refusal(lambda request: True, 403, "AccessDenied", "Access Denied").answer()
    return refused if request.method == "GET" and answer.status == 404 else answer


def without_the_newest(_: Request, answer: Answer) -> Answer:
    """Leave out of lists what was written last."""
    text = re.sub(rb"<Contents>(?:(?!</Contents>).)*x_1-2.*?</Contents>", b"", answer.body, flags=re.DOTALL)
    return replace(answer, body=text) if b"<ListBucketResult" in answer.body else answer


def ten_minutes_late(_: Request, answer: Answer) -> Answer:
    return replace(answer, headers={**answer.headers, "date": formatdate(time.time() - 600, usegmt=True)})


def rule(text: str) -> Told:
    body = f"<LifecycleConfiguration><Rule><ID>tidy</ID><Status>Enabled</Status>{text}</Rule></LifecycleConfiguration>"
    return Told(asks_for("lifecycle"), 200, body)


FOUND = {
    "no right to list": (refusing(denied("GET", "list-type")), "Failed", "right s3:ListBucket: no"),
    "no right to read": (refusing(denied("GET")), "Failed", "right s3:GetObject: no"),
    "no right to write": (refusing(denied("PUT")), "Failed", "right s3:PutObject: no"),
    "no right to delete": (refusing(denied("DELETE"), denied("POST", "delete")), "Failed", "right s3:DeleteObject: no"),
    "no right to abort": (refusing(denied("DELETE", "uploadId")), "Failed", "right s3:AbortMultipartUpload: no"),
    "missing objects are forbidden": (replace(MINIO, changed=missing_is_forbidden), "Failed", "allow s3:ListBucket"),
    "lists are late": (replace(MINIO, changed=without_the_newest), "Warning", "lists: 2 of 3 objects"),
    "the clock is late": (
        replace(MINIO, changed=ten_minutes_late),
        "Warning",
        "let this machine and the store follow NTP",
    ),
    "a rule deletes": (
        refusing(rule("<Filter><Prefix></Prefix></Filter><Expiration><Days>30</Days></Expiration>")),
        "Failed",
        "lifecycle: rule tidy deletes after 30 days",
    ),
    "a rule archives": (
        refusing(
            rule(
                "<Filter><Prefix>registry/</Prefix></Filter>"
                "<Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>"
            )
        ),
        "Failed",
        "lifecycle: rule tidy archives",
    ),
    "a lock by default": (
        refusing(
            Told(
                asks_for("object-lock"),
                200,
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
                "<Mode>COMPLIANCE</Mode><Years>7</Years></DefaultRetention></Rule></ObjectLockConfiguration>",
            )
        ),
        "Warning",
        "object lock: COMPLIANCE, 7 years",
    ),
    "versions are kept": (
        refusing(
            Told(
                asks_for("versioning"),
                200,
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            )
        ),
        "Note",
        "add a lifecycle rule NoncurrentVersionExpiration",
    ),
    "the requester pays": (
        refusing(
            Told(
                asks_for("requestPayment"),
                200,
                "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
            )
        ),
        "Warning",
        "requester pays: yes",
    ),
    "an ingress answers": (
        refusing(Told(lambda request: True, 404, "<html>default backend - 404</html>")),
        "Failed",
        "registry.endpoint",
    ),
    "a portal answers": (refusing(Told(lambda request: True, 403, "<html>sign in</html>")), "Failed", "NO_PROXY"),
    "a clock too late for requests": (
        refusing(Refusal(lambda request: True, 403, "RequestTimeTooSkewed", "too large")),
        "Failed",
        "NTP",
    ),
    "another region": (
        refusing(Refusal(lambda request: True, 301, "PermanentRedirect", "address it elsewhere")),
        "Failed",
        "registry.region",
    ),
}


@pytest.fixture
def bucket(gateway: Upstream) -> str:
    """A fresh bucket."""
    name = f"graft-{uuid.uuid4().hex[:12]}"
    real = boto3.client(
        "s3",
        endpoint_url=gateway.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )
    real.create_bucket(Bucket=name)
    return name


@pytest.mark.parametrize("what", FOUND)
def test_what_is_missing_is_found_and_named(what: str, open_store: OpenStore, bucket: str) -> None:
    kind, verdict, says = FOUND[what]
    with open_store(kind) as url:
        config = RegistryConfig(endpoint=url, bucket=bucket, prefix="registry")
        report = ObjectStore(config, patience=ONCE).examine(thoroughly=True)
    found = [finding.sentence() for finding in report.findings if finding.verdict == verdict]
    assert any(says in sentence for sentence in found), found
    assert report.is_fit is (verdict != "Failed")


def test_a_store_that_lacks_nothing_gets_a_clean_bill(open_store: OpenStore, bucket: str) -> None:
    with open_store(MINIO) as url:
        report = ObjectStore(RegistryConfig(endpoint=url, bucket=bucket)).examine(thoroughly=True)
    assert report.of("Failed", "Warning") == ()
    assert report.conditional_writes


def test_the_report_is_printed_for_people_and_for_programs(
    open_store: OpenStore, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    with open_store(MINIO) as url:
        config = RegistryConfig(endpoint=url, bucket=bucket, prefix="registry")
        environ = {"GRAFT_REGISTRY": config.model_dump_json(), "GRAFT_TERMINATION_LOG": str(log)}
        assert main(["doctor"], environ) == 0
        assert capsys.readouterr().out.splitlines()[1].split() == ["✓", "reach", "answers"]
        for arguments in (["doctor", "--json"], ["doctor", "-o", "json"]):
            assert main(arguments, environ) == 0
            assert StoreReport.model_validate(json.loads(capsys.readouterr().out)).is_fit
    with open_store(refusing(denied("PUT"))) as url:
        environ["GRAFT_REGISTRY"] = config.model_copy(update={"endpoint": url}).model_dump_json()
        assert main(["doctor"], environ) == 69
        assert "fix: allow s3:PutObject" in capsys.readouterr().out
    assert json.loads(log.read_text())["reason"] == "StoreUnfit"
    assert main(["doctor"], {"GRAFT_REGISTRY": '{"bucket": ""}', "GRAFT_TERMINATION_LOG": str(log)}) == 64


def test_a_store_that_is_away_is_a_report_for_people_and_unavailable_for_the_operator() -> None:
    store = ObjectStore(RegistryConfig(endpoint="http://127.0.0.1:9", bucket="graft"), patience=ONCE)
    assert [finding.check for finding in store.examine(thoroughly=True).of("Failed")] == ["reach"]
    with pytest.raises(Unavailable):
        store.examine()


ERROR = "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("body", [ERROR, f'<?xml version="1.0"?>\n{ERROR}'])
def test_a_completion_that_fails_inside_of_a_200_is_no_upload(
    open_store: OpenStore, bucket: str, tmp_path: Path, body: str
) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(6 << 20))
    with open_store(refusing(Told(completes, 200, body))) as url:
        store = ObjectStore(RegistryConfig(endpoint=url, bucket=bucket), patience=ONCE)
        with pytest.raises(Unavailable, match="InternalError"):
            store.upload_file(large, "large", sha256=file_sha256(large), size=6 << 20)
        assert not store.exists("large")
