from datetime import UTC, datetime

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from graft_cluster.addons.sigv4 import EMPTY, signed_headers


def test_the_signature_is_the_one_that_botocore_makes() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ours = signed_headers("PUT", "172.18.0.2:30070", "/graft", "AK", "SK", when)

    auth = S3SigV4Auth(Credentials("AK", "SK"), "s3", "us-east-1")
    headers = {"X-Amz-Date": "20260102T030405Z", "X-Amz-Content-SHA256": EMPTY}
    request = AWSRequest("PUT", "http://172.18.0.2:30070/graft", headers=headers)
    request.context["timestamp"] = "20260102T030405Z"
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert ours["Authorization"].endswith(f"Signature={auth.signature(text, request)}")
