"""A store that answers slowly, wrongly or not at all, scripted answer by answer."""

import http.server
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.registry.server_thread import serving

from graft_registry.config import RegistryConfig
from graft_registry.errors import Forbidden, RegistryError, Unavailable
from graft_registry.store import ObjectStore, Patience

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


class ScriptedHandler(http.server.BaseHTTPRequestHandler):
    server: ScriptedServer

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(self.command)
        answers = self.server.answers
        status, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815

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
