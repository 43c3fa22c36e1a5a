"""Log formats: text for people, one JSON object per line for machines. Both show the `extra` fields of a record."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["console", "json"]

# The attributes of every record, as opposed to those that came in by `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# Kopf attaches the whole settings object and the object reference to its records.
_NOISE = frozenset({"settings", "k8s_skip", "k8s_ref"})


def configure(*, log_format: LogFormat, level: str) -> None:
    """Send all logs to standard error in the given format. Replaces handlers of an earlier call."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One INFO line per watch event ("Handler ... succeeded") would drown the decisions.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    # Whole response bodies at DEBUG, which may hold secrets.
    logging.getLogger("kubernetes").setLevel(logging.INFO)
    logging.getLogger("botocore").setLevel(logging.INFO)


class ConsoleFormatter(logging.Formatter):
    """`12:00:00 INFO  graft_operator.controller_runtime.leader: lease acquired identity=pod-1`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record; a traceback follows on its own lines."""
        fields = "".join(f" {name}={_shown(value)}" for name, value in _extra(record).items())
        line = f"{_moment(record):%H:%M:%S} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object per line with `time`, `level`, `logger`, `message`, the extra fields, and `exception` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record. Values that JSON does not know are written as text."""
        entry: dict[str, Any] = {
            "time": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in _extra(record).items() if name not in entry}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: value
        for name, value in record.__dict__.items()
        if name not in _STANDARD and name not in _NOISE and not name.startswith("_")
    }


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c.isspace() or c in '"=' for c in text) else text


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
