import json
import logging
from collections.abc import Iterator

import pytest

from graft_operator.telemetry import logs


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_lines_hold_the_fields_and_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(log_format="json", level="INFO")
    log = logging.getLogger("graft_operator.test")
    log.info("planned %d", 2, extra={"key": "ns/a", "reason": "SpecChanged", "level": "never shadows"})
    try:
        raise KeyError("x")
    except KeyError:
        log.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["message"], first["key"], first["reason"]) == ("planned 2", "ns/a", "SpecChanged")
    assert (first["level"], first["logger"]) == ("info", "graft_operator.test")
    assert first["time"].endswith("Z")
    assert "KeyError: 'x'" in second["exception"]


def test_console_lines_quote_what_has_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(log_format="console", level="INFO")
    logging.getLogger("graft_operator.test").warning("retried", extra={"key": "ns/a", "error": "no answer", "n": 3})
    line = capsys.readouterr().err.rstrip()
    assert line.endswith('WARNING graft_operator.test: retried key=ns/a error="no answer" n=3')


def test_chatty_libraries_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(log_format="console", level="DEBUG")
    logging.getLogger("kopf.objects").info("Handler 'x' succeeded.")
    logging.getLogger("kubernetes.aio.client.rest").debug("response body: secret")
    assert capsys.readouterr().err == ""
