"""A store that answers slowly, wrongly or not at all, scripted answer by answer."""

import http.server
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.wire.registry.server_thread import serving

from graft_registry.config import RegistryConfig
from graft_registry.errors import Archived, Corrupt, Forbidden, NotFound, RegistryError, Unavailable
from graft_registry.s3.store import ObjectStore, Patience

Answer = tuple[int, bytes, int]
"""Status, body, and the length that the answer claims to have."""


def whole(body: bytes = b"", status: int = 200) -> Answer:
    return status, body, len(body)


def error(status: int, code: str, more: str = "", message: str = "scripted") -> Answer:
    return whole(f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode(), status)


BROKEN_OFF: Answer = (200, b"half", 8)


class ScriptedServer(http.server.ThreadingHTTPServer):
    """Gives one scripted answer after the other, and the last one for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        self.answers: list[Answer] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.told: dict[str, str] = {}
        """Headers of every answer."""


class ScriptedHandler(http.server.BaseHTTPRequestHandler):
    server: ScriptedServer

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(self.command)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        answers = self.server.answers
        status, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in self.server.told.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    with serving(server):
        yield server


@pytest.fixture
def store(server: ScriptedServer) -> ObjectStore:
    config = RegistryConfig(endpoint=f"http://127.0.0.1:{server.server_port}", bucket="graft")
    return ObjectStore(config, patience=Patience(attempts=2))


def test_a_body_that_breaks_off_is_read_again_from_the_start(
    server: ScriptedServer, store: ObjectStore, tmp_path: Path
) -> None:
    server.answers = [BROKEN_OFF, whole(b"all of it")]
    store.download_file("key", tmp_path / "file", sha256=None)
    assert (tmp_path / "file").read_bytes() == b"all of it"


def test_a_body_that_always_breaks_off_is_unavailable_and_leaves_no_file(
    server: ScriptedServer, store: ObjectStore, tmp_path: Path
) -> None:
    server.answers = [BROKEN_OFF]
    with pytest.raises(Unavailable):
        store.download_file("key", tmp_path / "file", sha256=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(error(503, "SlowDown"), Unavailable, id="a throttled request is worth a retry"),
        pytest.param(error(500, "InternalError"), Unavailable, id="a server error is worth a retry"),
        pytest.param(error(403, "AccessDenied"), Forbidden, id="a refused request is not worth a retry"),
        pytest.param(error(401, "Unauthorized"), Forbidden, id="unknown credentials are not worth a retry"),
        pytest.param(error(400, "InvalidRequest"), RegistryError, id="a request that isn't understood is a defect"),
    ],
)
def test_answers_say_whether_a_retry_helps(
    server: ScriptedServer, store: ObjectStore, answer: Answer, expected: type[RegistryError]
) -> None:
    server.answers = [answer]
    for call in (lambda: store.get("key"), lambda: store.put("key", b""), lambda: list(store.list("key"))):
        with pytest.raises(RegistryError, match="scripted") as caught:
            call()
        assert type(caught.value) is expected


def test_a_store_that_is_not_there_is_unavailable() -> None:
    config = RegistryConfig(endpoint="http://127.0.0.1:9", bucket="graft")
    with pytest.raises(Unavailable, match="Could not connect"):
        ObjectStore(config, patience=Patience(attempts=1)).get("key")


def test_a_conditional_write_in_conflict_with_another_is_tried_again(
    server: ScriptedServer, store: ObjectStore
) -> None:
    server.answers = [
        error(404, "NoSuchKey"),
        error(409, "ConditionalRequestConflict"),
        error(404, "NoSuchKey"),
        whole(),
        whole(b"mine"),
    ]
    assert store.put_if_absent("key", b"mine")
    assert server.requests == ["GET", "PUT", "GET", "PUT", "GET"]


def test_a_conditional_write_that_is_never_settled_is_unavailable(server: ScriptedServer, store: ObjectStore) -> None:
    server.answers = [
        error(404, "NoSuchKey"),
        error(409, "ConditionalRequestConflict"),
        error(404, "NoSuchKey"),
        error(409, "ConditionalRequestConflict"),
        error(404, "NoSuchKey"),
    ]
    with pytest.raises(Unavailable, match="not settled"):
        store.put_if_absent("key", b"mine")


def test_a_refused_conditional_write_is_not_tried_again(server: ScriptedServer, store: ObjectStore) -> None:
    server.answers = [error(404, "NoSuchKey"), error(403, "AccessDenied")]
    with pytest.raises(Forbidden):
        store.put_if_absent("key", b"mine")
    assert server.requests == ["GET", "PUT"]


NOT_THERE = error(404, "NoSuchKey")
REFUSALS = [
    pytest.param([error(501, "NotImplemented")], id="not implemented"),
    pytest.param([error(400, "InvalidArgument")], id="an invalid argument"),
    pytest.param([whole(status=304), NOT_THERE], id="taken for the condition of a GET"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_store_that_refuses_conditions_can_be_written_to(
    server: ScriptedServer, store: ObjectStore, refusal: list[Answer]
) -> None:
    server.answers = [NOT_THERE, *refusal, whole(), whole(b"mine")]
    assert store.put_if_absent("key", b"mine")
    assert "if-none-match" not in server.headers[-2]
    server.answers = [whole(b"another's, and longer")]
    assert not store.put_if_absent("key", b"mine")


def test_a_store_that_ignores_the_condition_is_not_made_to_overwrite(
    server: ScriptedServer, store: ObjectStore
) -> None:
    server.answers = [whole(b"another's, and longer")]
    assert not store.put_if_absent("key", b"mine")
    assert server.requests == ["GET"]


def test_who_was_overwritten_where_the_condition_is_ignored_gets_to_know(
    server: ScriptedServer, store: ObjectStore
) -> None:
    server.answers = [NOT_THERE, whole(), whole(b"another's, and longer")]
    assert not store.put_if_absent("key", b"mine")
    assert server.requests == ["GET", "PUT", "GET"]


def test_what_was_written_and_is_not_shown_is_not_taken_for_written(server: ScriptedServer, store: ObjectStore) -> None:
    server.answers = [NOT_THERE, whole(), NOT_THERE]
    with pytest.raises(Unavailable, match="does not show it yet"):
        store.put_if_absent("key", b"mine")


@pytest.mark.parametrize("answer", [whole(b"<html>default backend</html>", 404), error(404, "PageNotFound")])
def test_a_404_of_something_else_than_a_store_does_not_mean_that_nothing_is_stored(
    server: ScriptedServer, store: ObjectStore, answer: Answer
) -> None:
    server.answers = [answer]
    with pytest.raises(Unavailable, match=r"registry\.endpoint"):
        store.get("key")


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (lambda store: store.get("key"), "s3:ListBucket"),
        (lambda store: store.exists("key"), "s3:ListBucket"),
        (lambda store: list(store.list("key")), "s3:ListBucket"),
        (lambda store: store.put("key", b""), r"registry\.serverSideEncryption"),
        (lambda store: store.delete("key"), "s3:DeleteObject"),
    ],
)
def test_a_refusal_names_the_right_that_may_be_missing(
    server: ScriptedServer, store: ObjectStore, call: Callable[[ObjectStore], object], right: str
) -> None:
    server.answers = [error(403, "AccessDenied")]
    with pytest.raises(Forbidden, match=right):
        call(store)


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (error(403, "RequestTimeTooSkewed"), Forbidden, "NTP"),
        (error(403, "InvalidAccessKeyId"), Forbidden, "AWS_ACCESS_KEY_ID"),
        (error(403, "SignatureDoesNotMatch"), Forbidden, "AWS_SECRET_ACCESS_KEY"),
        (error(403, "InvalidObjectState"), Archived, "restore it"),
        (error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), RegistryError, "region: eu-west-1"),
        (error(301, "PermanentRedirect"), RegistryError, r"registry\.region"),
        (error(403, "SecondLevelDomainForbidden"), Forbidden, "forcePathStyle: false"),
        (error(400, "ExpiredToken"), Forbidden, "AWS_SESSION_TOKEN"),
        (whole(b"<html>blocked by policy</html>", 403), Forbidden, "HTTPS_PROXY"),
        (whole(b"<html>bad gateway</html>", 502), Unavailable, "502"),
    ],
)
def test_an_answer_that_says_what_is_wrong_is_told_with_the_remedy(
    server: ScriptedServer, store: ObjectStore, answer: Answer, kind: type[RegistryError], says: str
) -> None:
    server.answers = [answer]
    with pytest.raises(kind, match=says):
        store.get("key")


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "XAmzContentSHA256Mismatch"),
        error(400, "InvalidArgument", message="aws-chunked encoding is not supported with the specified value."),
        error(501, "NotImplemented", message="STREAMING-UNSIGNED-PAYLOAD-TRAILER not implemented"),
        error(501, "NotImplemented", message="Header 'x-amz-checksum-algorithm' with value 'CRC32' not implemented"),
        error(411, "MissingContentLength"),
    ],
)
def test_a_store_that_refuses_checksums_is_told_with_the_setting(
    server: ScriptedServer, store: ObjectStore, answer: Answer
) -> None:
    server.answers = [answer]
    with pytest.raises(RegistryError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
        store.put("key", b"data")


def test_a_delete_marker_is_told_apart(server: ScriptedServer, store: ObjectStore) -> None:
    server.answers = [error(404, "NoSuchKey")]
    server.told = {"x-amz-delete-marker": "true"}
    with pytest.raises(NotFound, match="delete its delete marker"):
        store.get("key")


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html><body>Sign in</body></html>",
        b"<!DOCTYPE html><html><head><meta charset=utf-8><title>Sign in</title></head></html>",
        b'{"error": "no route"}',
        b"OK",
    ],
)
def test_a_page_of_something_else_is_no_empty_list(server: ScriptedServer, store: ObjectStore, page: bytes) -> None:
    server.answers = [whole(page)]
    with pytest.raises(Unavailable, match=r"registry\.endpoint"):
        list(store.list("a/"))


def listing(*keys: str, more: str = "") -> Answer:
    entries = "".join(f"<Contents><Key>{key}</Key><Size>1</Size><ETag>x</ETag></Contents>" for key in keys)
    return whole(f"<ListBucketResult><Name>graft</Name>{entries}{more}</ListBucketResult>".encode())


TRUNCATED = "<IsTruncated>true</IsTruncated>"
TOKEN = f"{TRUNCATED}<NextContinuationToken>t</NextContinuationToken>"


@pytest.mark.parametrize("more", [TOKEN, TRUNCATED], ids=["by a token", "after the last key, where there is no token"])
def test_a_list_is_followed_to_its_end(server: ScriptedServer, store: ObjectStore, more: str) -> None:
    server.answers = [listing("a/1", "a/2", more=more), listing("a/3")]
    assert [entry.key for entry in store.list("a/")] == ["a/1", "a/2", "a/3"]


@pytest.mark.parametrize("more", [TOKEN, TRUNCATED], ids=["with a token", "without a token"])
def test_a_list_that_does_not_get_on_is_no_list(server: ScriptedServer, store: ObjectStore, more: str) -> None:
    server.answers = [listing("a/1", "a/2", more=more)]
    with pytest.raises(RegistryError, match="does not page lists"):
        list(store.list("a/"))
    assert server.requests == ["GET", "GET"]


LISTING = whole(
    b"<ListBucketResult><Contents><Key>a/1</Key><Size>1</Size><ETag>x</ETag></Contents>"
    b"<Contents><Key>a/2</Key><Size>1</Size><ETag>x</ETag></Contents></ListBucketResult>"
)


@pytest.mark.parametrize("refusal", [error(400, "MissingContentMD5"), error(501, "NotImplemented"), error(405, "No")])
def test_what_can_not_be_deleted_together_is_deleted_one_by_one(
    server: ScriptedServer, store: ObjectStore, refusal: Answer
) -> None:
    server.answers = [LISTING, refusal, whole(status=204), error(404, "NoSuchKey")]
    store.delete_prefix("a/")
    assert server.requests == ["GET", "POST", "DELETE", "DELETE"]


@pytest.mark.parametrize(
    ("code", "expected"), [("AccessDenied", Forbidden), ("InternalError", Unavailable), ("Locked", RegistryError)]
)
def test_an_object_that_can_not_be_deleted_is_named(
    server: ScriptedServer, store: ObjectStore, code: str, expected: type[RegistryError]
) -> None:
    refused = f"<DeleteResult><Error><Key>a/2</Key><Code>{code}</Code></Error></DeleteResult>"
    server.answers = [LISTING, whole(refused.encode())]
    with pytest.raises(RegistryError, match="a/2: not deleted") as caught:
        store.delete_prefix("a/")
    assert type(caught.value) is expected


def test_an_object_that_is_too_large_is_not_read(server: ScriptedServer, store: ObjectStore, tmp_path: Path) -> None:
    server.answers = [(200, b"the beginning", 10 << 30)]
    with pytest.raises(Corrupt, match="at most 1048576 bytes"):
        store.get("key")
    with pytest.raises(Corrupt, match="at most 13 bytes"):
        store.download_file("key", tmp_path / "file", sha256="0" * 64, size=13)
    assert server.requests == ["GET", "GET"]
    assert list(tmp_path.iterdir()) == []


def test_nobody_who_has_been_stopped_asks_for_more(server: ScriptedServer, store: ObjectStore) -> None:
    server.answers = [LISTING, whole(status=204)]
    is_stopped: list[bool] = []
    view = store.until(lambda: bool(is_stopped))
    objects = view.list("a/")
    next(objects)
    is_stopped.append(True)
    for call in (
        lambda: list(objects),
        lambda: view.get("a"),
        lambda: view.put("a", b""),
        lambda: view.delete("a"),
        lambda: view.delete_prefix("a/"),
    ):
        with pytest.raises(Unavailable, match="nobody waits"):
            call()
    assert server.requests == ["GET"]
    store.delete("a")
