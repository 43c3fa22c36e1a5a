"""What the agent reads from and changes in answers of the engine, on the bytes: no answer is ever parsed. Pure.

Inside a JSON string every quote is escaped, so the bytes `"model":"x"` can only be a key with its value, never text
that a model wrote.
"""

import json
import re

from graft_serving.telemetry.answered import Usage

_EVENT = re.compile(rb"^data: \{", re.MULTILINE)
_PROMPT_TOKENS = re.compile(rb'"prompt_tokens"\s*:\s*(\d+)')
_COMPLETION_TOKENS = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')


class ModelName:
    """Puts the name that the client asked for in place of the one that the engine answers with."""

    def __init__(self, engine_name: str, asked: str) -> None:
        """Replace `engine_name` by `asked`."""
        # With and without a space: that is how JSON is written.
        self._pairs = [
            (f'"model":{space}"{engine_name}"'.encode(), f'"model":{space}{json.dumps(asked)}'.encode())
            for space in ("", " ")
        ]
        self._held = b""

    def in_whole(self, body: bytes) -> bytes:
        """Replace the name in a complete answer."""
        for written, wanted in self._pairs:
            body = body.replace(written, wanted)
        return body

    def in_stream(self, chunk: bytes) -> bytes:
        """Replace the name in the complete lines so far; the rest of the chunk waits for the end of its line."""
        data = self._held + chunk
        end_of_lines = data.rfind(b"\n") + 1
        self._held = data[end_of_lines:]
        return self.in_whole(data[:end_of_lines])

    def rest_of_stream(self) -> bytes:
        """What is left after the last chunk."""
        rest, self._held = self._held, b""
        return self.in_whole(rest)


class StreamedUsage:
    """Counts the tokens of a stream, chunk by chunk.

    Engines tell the usage of a stream only to clients that asked for it (`stream_options.include_usage`). For the
    others the events are counted: vLLM sends one for each token, and in chats one before the first. The prompt's
    tokens are unknown then.
    """

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._events = 0
        self._told: Usage | None = None

    def add(self, chunk: bytes) -> None:
        """Take the next chunk of whole lines into account."""
        self._events += len(_EVENT.findall(chunk))
        self._told = usage_in(chunk) or self._told

    @property
    def total(self) -> Usage:
        """What the engine told, or what was counted."""
        return self._told or Usage(completion=self._events)


def usage_in(data: bytes) -> Usage | None:
    """The usage in a JSON answer or in the last server-sent events of one; None if the engine tells none."""
    start = data.rfind(b'"usage"')
    if start < 0:
        return None
    prompt, completion = _PROMPT_TOKENS.search(data, start), _COMPLETION_TOKENS.search(data, start)
    if prompt is None and completion is None:
        return None
    return Usage(int(prompt.group(1)) if prompt else 0, int(completion.group(1)) if completion else 0)
