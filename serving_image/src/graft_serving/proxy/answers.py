"""What the agent reads from and changes in answers of the engine, on the bytes: no answer is ever parsed. Pure.

Inside a JSON string every quote is escaped, so the bytes `"model":"x"` can only be a key with its value, never text
that a model wrote. `"usage":{` likewise: a token that is a key of log probabilities has a number for its value.
"""

import json
import re

from graft_serving.telemetry.answered import Usage

_MARKS = re.compile(
    # OpenAI's end, OpenAI's and vLLM's errors, and the events of the Responses and the Messages API that are either.
    rb"^(?:data: ?(?:(?P<end>\[DONE\])|(?P<error>\{\s*\"(?:error\"|(?:object|type)\"\s*:\s*\"error\"))|(?P<event>\{))"
    rb"|event: ?(?:(?P<named_end>message_stop|response\.(?:completed|incomplete))"
    rb"|(?P<named_error>error)|(?P<failure>response\.failed)|(?P<of_response>response))\b)",
    re.MULTILINE,
)
# Of the Messages API, which tells no status.
_WRONG_REQUEST = re.compile(
    rb'"type"\s*:\s*"(?:(?:invalid_request|authentication|permission|not_found|rate_limit)_error|request_too_large)"'
)
_CODE = re.compile(rb'"(?:code|status)"\s*:\s*"?(\d+)')
_USAGE = (b'"usage":{', b'"usage": {')
# No engine generates a billion tokens for one request; Python makes no number of thousands of digits.
_PROMPT_TOKENS = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(\d{1,9})(?!\d)')
_COMPLETION_TOKENS = re.compile(rb'"(?:completion|output)_tokens"\s*:\s*(\d{1,9})(?!\d)')
_DYING = re.compile(rb"EngineDeadError|EngineCore encountered an issue|EngineCore (?:has )?died")
_LOOKED_AT = 4096
"""Bytes of an error in which words are looked for."""
_USAGE_BYTES = 512
"""More than an answer's usage takes."""


def is_dying(error: bytes) -> bool:
    """Whether an engine says with this error that its core is gone: it answers nobody any more, and ends soon."""
    return _DYING.search(error[:_LOOKED_AT]) is not None


def lacks_model(error: bytes, model: str) -> bool:
    """Whether an engine says with this error that it doesn't have the model.

    It may quote the request as well, whose client can calculate the name: from the digest that the model list tells.
    """
    name = re.escape(model.encode())
    return re.search(rb"\bmodel\W{1,4}" + name + rb"(?![\w-])", error[:_LOOKED_AT], re.IGNORECASE) is not None


class ModelName:
    """Puts the name that the client asked for in place of the one that the engine answers with."""

    def __init__(self, engine_name: str, asked: str) -> None:
        """Replace `engine_name` by `asked`."""
        # With and without a space: that is how JSON is written.
        self._pairs = [
            (f'"model":{space}"{engine_name}"'.encode(), f'"model":{space}{json.dumps(asked)}'.encode())
            for space in ("", " ")
        ]

    @property
    def most_bytes(self) -> int:
        """How long what is replaced may be."""
        return max(len(written) for written, _ in self._pairs)

    def put_into(self, data: bytes) -> bytes:
        """Replace the name in a complete answer, or in complete lines of one."""
        for written, wanted in self._pairs:
            data = data.replace(written, wanted)
        return data


class LongAnswer:
    """An answer in one piece that is too long to be held: passed on part by part under the right name, and counted."""

    def __init__(self, name: ModelName | None) -> None:
        """Rename the model; None leaves it as it is."""
        self._name = name
        self._held = b""
        self._seen = b""
        self.usage = Usage()
        """What the engine has told so far."""

    def add(self, part: bytes) -> bytes:
        """Take the next bytes; return what can't be a part of the name any more."""
        self._look_for_usage(part)
        if self._name is None:
            return part
        data = self._name.put_into(self._held + part)
        end = max(0, len(data) - self._name.most_bytes + 1)
        self._held = data[end:]
        return data[:end]

    def rest(self) -> bytes:
        """What is left after the last part."""
        rest, self._held = self._held, b""
        return rest

    def _look_for_usage(self, part: bytes) -> None:
        # With the end of the part before, since it may begin there.
        seen = self._seen + part
        self.usage = usage_in(seen) or self.usage
        self._seen = seen[-_USAGE_BYTES:]


class StreamedAnswer:
    """Server-sent events as they come: passed on line by line under the right name, counted, and judged.

    Engines tell the usage of a stream only to clients that asked for it (`stream_options.include_usage`). For the
    others the events are counted: vLLM sends one for each token, and in chats one before the first. The prompt's
    tokens are unknown then.
    """

    def __init__(self, name: ModelName | None) -> None:
        """Rename the model; None leaves it as it is."""
        self._name = name
        self._held: list[bytes] = []
        self._events = 0
        self._told: Usage | None = None
        self._has_end = False
        self._has_error = False
        self._has_wrong_request = False
        self._names_error = False
        self._repeats_request = False
        self.is_dying = False
        """Whether the engine has said that its core is gone."""

    @property
    def complete(self) -> bool:
        """Whether it has come to its own end, or to what the client did wrong, without an error of the engine's."""
        return (self._has_end or self._has_wrong_request) and not (self._has_error or self._names_error)

    @property
    def usage(self) -> Usage:
        """What the engine told, or what was counted."""
        return self._told or Usage(completion=self._events)

    def add(self, chunk: bytes) -> bytes:
        """Take the next bytes; return all whole lines that have not been returned yet."""
        end_of_lines = chunk.rfind(b"\n") + 1
        if not end_of_lines:
            self._held.append(chunk)
            return b""
        lines = b"".join((*self._held, chunk[:end_of_lines]))
        self._held = [chunk[end_of_lines:]] if end_of_lines < len(chunk) else []
        return self._taken(lines)

    def rest(self) -> bytes:
        """What is left after the last chunk."""
        lines, self._held = b"".join(self._held), []
        return self._taken(lines)

    def _taken(self, lines: bytes) -> bytes:
        # Where the end has come before, all of it is of the end.
        end = 0 if self._has_end else len(lines)
        for mark in _MARKS.finditer(lines):
            kind = mark.lastgroup
            if kind in ("end", "named_end"):
                self._has_end, end = True, min(end, mark.start())
            elif kind == "of_response":
                self._repeats_request = True
            elif kind in ("named_error", "failure"):
                # What it is follows on a line of its own, which may come later.
                self._names_error = True
                self._has_error |= kind == "failure"
            elif kind == "error" or self._names_error:
                self._note_error(_line_at(lines, mark.start()))
            else:
                self._events += 1
        # Events of the Responses API hold the client's own tools, with whatever that calls usage. The last tells ours.
        if (told := usage_in(lines[end:] if self._repeats_request else lines)) is not None:
            self._told = told.at_least(self._told or Usage())
        return lines if self._name is None else self._name.put_into(lines)

    def _note_error(self, event: bytes) -> None:
        self._names_error = False
        # What the client did wrong is told in the same way, and is nobody's failure.
        if _is_wrong_request(event):
            self._has_wrong_request = True
        else:
            self._has_error = True
            # Of the client's errors the words are the client's as well.
            self.is_dying |= is_dying(event)


def _line_at(lines: bytes, start: int) -> bytes:
    end = lines.find(b"\n", start)
    return lines[start:] if end < 0 else lines[start:end]


def _is_wrong_request(event: bytes) -> bool:
    # The code stands behind the message, which may quote all of the request.
    if (code := _CODE.search(event)) is not None:
        return 400 <= int(code.group(1)[:9]) < 500
    return _WRONG_REQUEST.search(event) is not None


def usage_in(data: bytes) -> Usage | None:
    """The usage in a JSON answer or in the last server-sent events of one; None if the engine tells none."""
    start = max(data.rfind(written) for written in _USAGE)
    if start < 0:
        return None
    prompt, completion = _PROMPT_TOKENS.search(data, start), _COMPLETION_TOKENS.search(data, start)
    if prompt is None and completion is None:
        return None
    return Usage(int(prompt.group(1)) if prompt else 0, int(completion.group(1)) if completion else 0)
