"""Stores that refuse an adapter's source, or answer what can't be read: told of the source, in its own settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.wire.registry.server_thread import serving
from tests.wire.registry.sources.odd_server import Answer, OddServer

from graft_registry.config import Credentials, RegistryConfig
from graft_registry.documents import AdapterSource
from graft_registry.sources.adapter_origins import resolve_adapter
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

FIELD = "spec.source.s3.uri"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def refusal(status: int, code: str, message: str = "scripted", more: str = "") -> Answer:
    return Answer(f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode(), status)


def listing(*entries: str) -> Answer:
    found = "".join(f"<Contents>{entry}</Contents>" for entry in entries)
    return Answer(f"<ListBucketResult><Name>models</Name><KeyCount>2</KeyCount>{found}</ListBucketResult>".encode())


def entry(name: str, size: object) -> str:
    return f"<Key>a/{name}</Key><Size>{size}</Size>"


LISTED = listing(entry(CONFIG, 2), entry(WEIGHTS, 9))


def problem(answers: Callable[[bool], Answer], workspace: Path) -> SourceError:
    """Return what is told of a store that answers so to lists (``True``) and reads."""
    return problem_of_paths(lambda path: answers("list-type" in path), workspace)


def problem_of_paths(answers: Callable[[str], Answer], workspace: Path) -> SourceError:
    source = AdapterSource.model_validate({"s3": {"uri": "s3://models/a/"}})
    server = OddServer(answers)
    access = SourceAccess(s3_endpoint=server.url, s3_credentials=Credentials("key", "secret", None))
    with serving(server), pytest.raises(SourceError) as raised:
        resolve_adapter(source, access, RegistryConfig(bucket="none"), workspace=workspace)
    assert raised.value.field == FIELD
    assert "registry." not in str(raised.value)
    return raised.value


INVALID, FORBIDDEN = SourceProblem.INVALID, SourceProblem.ADAPTER_FORBIDDEN
SSE_C = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve "
    "the object."
)
ASSUMED = "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu:1:key/2"
READS: list[tuple[Answer, SourceProblem, str]] = [
    (refusal(403, "InvalidObjectState", "The operation is not valid"), INVALID, "restore it"),
    (refusal(400, "InvalidRequest", SSE_C), INVALID, "SSE-C"),
    (refusal(400, "KMS.DisabledException", "arn is disabled"), INVALID, "KMS key that the object is encrypted with"),
    (refusal(400, "KMS.NotFoundException"), INVALID, "KMS key that the object is encrypted with"),
    (refusal(403, "AccessDenied", ASSUMED), FORBIDDEN, "the key lacks kms:Decrypt"),
    (refusal(403, "AccessDenied"), FORBIDDEN, "the key lacks s3:GetObject"),
    (refusal(416, "InvalidRange"), INVALID, "InvalidRange"),
    (Answer(b"", 304), INVALID, "304"),
    (Answer(b"", 451), INVALID, "451"),
    (Answer(b"", 402), INVALID, "402"),
    (Answer(b"{}", headers={"Last-Modified": "yesterday"}), INVALID, "can't be read"),
    (refusal(404, "NoSuchKey"), SourceProblem.NOT_FOUND, "NoSuchKey"),
]


@pytest.mark.parametrize(("answer", "reason", "says"), READS)
def test_what_only_a_person_can_mend_is_not_waited_for(
    answer: Answer, reason: SourceProblem, says: str, tmp_path: Path
) -> None:
    error = problem(lambda is_list: LISTED if is_list else answer, tmp_path)
    assert error.reason is reason
    assert says in str(error)


REGION = "<Region>eu-west-1</Region>"
LISTS: list[tuple[Answer, str]] = [
    (refusal(400, "AuthorizationHeaderMalformed", more=REGION), "set SOURCE_AWS_REGION: eu-west-1"),
    (refusal(400, "AuthorizationHeaderMalformed"), "correct SOURCE_AWS_REGION (or SOURCE_AWS_ENDPOINT_URL)"),
    (refusal(301, "PermanentRedirect"), "correct SOURCE_AWS_REGION (or SOURCE_AWS_ENDPOINT_URL)"),
    (refusal(400, "InvalidBucketName"), "no store has a bucket of this name"),
    (Answer(b"", 451), "SOURCE_AWS_ENDPOINT_URL"),
    (Answer(b"<html>gone</html>", 410), "SOURCE_AWS_ENDPOINT_URL"),
    (listing(entry(CONFIG, "abc")), "a list that can't be read"),
    (listing(entry(CONFIG, "")), "a list"),
    (listing(entry(CONFIG, -5)), "its size is -5"),
    (listing(f"<Key>a/{CONFIG}</Key>"), "its size is None"),
    (listing("<Size>5</Size>"), "says of an object"),
    (listing(f"{entry(CONFIG, 2)}<LastModified>2024-99-99T</LastModified>"), "a list that can't be read"),
]


@pytest.mark.parametrize(("answer", "says"), LISTS)
def test_a_list_that_is_refused_or_cannot_be_read_is_told(answer: Answer, says: str, tmp_path: Path) -> None:
    error = problem(lambda _: answer, tmp_path)
    assert error.reason is INVALID
    assert says in str(error)


@pytest.mark.parametrize("status", [408, 409, 425])
def test_what_passes_is_waited_for(status: int, tmp_path: Path) -> None:
    error = problem(lambda is_list: LISTED if is_list else refusal(status, "Later"), tmp_path)
    assert error.reason is SourceProblem.ADAPTER_UNAVAILABLE


def test_a_name_that_no_request_can_carry_is_not_waited_for(tmp_path: Path) -> None:
    source = AdapterSource.model_construct(s3=AdapterSource.model_validate({"s3": {"uri": "s3://models/a"}}).s3)
    assert source.s3 is not None
    odd = source.s3.model_copy(update={"uri": "s3://my models!/a"})
    with pytest.raises(SourceError, match="correct the name") as raised:
        resolve_adapter(
            AdapterSource.model_construct(s3=odd),
            SourceAccess(s3_credentials=Credentials("key", "secret", None)),
            RegistryConfig(bucket="none"),
            workspace=tmp_path,
        )
    assert (raised.value.reason, raised.value.field) == (INVALID, FIELD)


def test_headers_of_large_objects_are_read_with_the_same_care(tmp_path: Path) -> None:
    large = listing(entry(CONFIG, 2), entry(WEIGHTS, 100 << 20))
    config, odd = Answer(b"{}"), Answer(b"weights", headers={"Last-Modified": "yesterday"})
    error = problem_of_paths(lambda path: large if "list-type" in path else config if CONFIG in path else odd, tmp_path)
    assert error.reason is INVALID
    assert f"{WEIGHTS}: an answer that can't be read" in str(error)


@pytest.mark.parametrize("body", [b"", b"{", b"{}  ", b"<html>Sign in</html>"])
def test_a_file_of_another_size_than_listed_is_being_written(body: bytes, tmp_path: Path) -> None:
    error = problem(lambda is_list: LISTED if is_list else Answer(body), tmp_path)
    assert error.reason is SourceProblem.ADAPTER_UNAVAILABLE
    assert "is being written to" in str(error)
