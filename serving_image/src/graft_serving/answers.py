"""What the agent reads from and changes in answers of the engine, on the bytes: no answer is ever parsed. Pure.

Inside a JSON string every quote is escaped, so the bytes `"model":"x"` can only be a key with its value, never text
that a model wrote.
"""

import re
from dataclasses import dataclass

_PROMPT_TOKENS = re.compile(rb'"prompt_tokens"\s*:\s*(\d+)')
_COMPLETION_TOKENS = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')


class ModelName:
    """Puts the name that the client asked for in place of the one that the engine answers with."""

    def __init__(self, engine_name: str, asked: str) -> None:
        """Replace `engine_name` by `asked`."""
        self._engine_name = engine_name.encode()
        self._pattern = re.compile(rb'("model"\s*:\s*)"' + re.escape(self._engine_name) + rb'"')
        self._replacement = rb'\1"' + asked.encode().replace(b"\\", rb"\\") + b'"'
        self._held = b""

    def in_whole(self, body: bytes) -> bytes:
        """Replace the name in a complete answer."""
        if self._engine_name not in body:
            return body
        return self._pattern.sub(self._replacement, body)

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


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer."""

    prompt: int = 0
    completion: int = 0


def usage_in(data: bytes) -> Usage | None:
    """The usage in a JSON answer or in the last server-sent events of one; None if the engine tells none."""
    start = data.rfind(b'"usage"')
    if start < 0:
        return None
    prompt, completion = _PROMPT_TOKENS.search(data, start), _COMPLETION_TOKENS.search(data, start)
    if prompt is None and completion is None:
        return None
    return Usage(int(prompt.group(1)) if prompt else 0, int(completion.group(1)) if completion else 0)
