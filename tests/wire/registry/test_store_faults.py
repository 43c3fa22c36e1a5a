"""A store that answers slowly, wrongly or not at all, scripted answer by answer."""

import http.server
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.wire.registry.server_thread import serving

from graft_registry.config import RegistryConfig
from graft_registry.errors import Corrupt, Forbidden, RegistryError, Unavailable
from graft_registry.s3.store import ObjectStore, Patience

Answer = tuple[int, bytes, int]
"""Status, body, and the length that the answer claims to have."""


def whole(body: bytes = b"", status: int = 200) -> Answer:
    return status, body, len(body)


def error(status: int, code: str) -> Answer:
    return whole(f"<Error><Code>{code}</Code><Message>scripted</Message></Error>".encode(), status)


BROKEN_OFF: Answer = (200, b"half", 8)


class ScriptedServer(http.server.ThreadingHTTPServer):
    """Gives one scripted answer after the other, and the last one for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        self.answers: list[Answer] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []


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
    server.answers = [error(409, "ConditionalRequestConflict"), error(404, "NoSuchKey"), whole()]
    assert store.put_if_absent("key", b"mine")
    assert server.requests == ["PUT", "GET", "PUT"]


def test_a_conditional_write_that_is_never_settled_is_unavailable(server: ScriptedServer, store: ObjectStore) -> None:
    server.answers = [
        error(409, "ConditionalRequestConflict"),
        error(404, "NoSuchKey"),
        error(409, "ConditionalRequestConflict"),
        error(404, "NoSuchKey"),
    ]
    with pytest.raises(Unavailable, match="not settled"):
        store.put_if_absent("key", b"mine")


def test_a_refused_conditional_write_is_not_tried_again(server: ScriptedServer, store: ObjectStore) -> None:
    server.answers = [error(403, "AccessDenied")]
    with pytest.raises(Forbidden):
        store.put_if_absent("key", b"mine")
    assert server.requests == ["PUT"]


NOT_THERE = error(404, "NoSuchKey")
REFUSALS = [
    pytest.param([error(501, "NotImplemented")], id="not implemented"),
    pytest.param([error(400, "InvalidArgument")], id="an invalid argument"),
    pytest.param([whole(status=304), NOT_THERE], id="taken for the condition of a GET"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_store_that_refuses_conditions_has_no_conditional_writes(
    server: ScriptedServer, store: ObjectStore, refusal: list[Answer]
) -> None:
    server.answers = [*refusal, whole(), whole(status=204)]
    assert store.probe_conditional_writes() is False
    assert server.requests[-2:] == ["PUT", "DELETE"]
    assert "if-none-match" not in server.headers[-2]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_store_that_refuses_conditions_can_be_written_to(
    server: ScriptedServer, store: ObjectStore, refusal: list[Answer]
) -> None:
    server.answers = [*refusal, NOT_THERE, whole()]
    assert store.put_if_absent("key", b"mine")
    server.answers = [refusal[0], whole(b"another's, and longer")]
    assert not store.put_if_absent("key", b"mine")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(error(503, "SlowDown"), Unavailable), (error(400, "ExpiredToken"), Forbidden), (error(403, "No"), Forbidden)],
)
def test_a_store_that_answers_no_write_says_nothing_of_conditions(
    server: ScriptedServer, store: ObjectStore, answer: Answer, expected: type[RegistryError]
) -> None:
    server.answers = [answer]
    with pytest.raises(expected):
        store.probe_conditional_writes()


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
