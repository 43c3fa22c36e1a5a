"""Somebody at a terminal: types commands, and sees what they show."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pexpect
from tests.cli.recordings.tape import KEY_SECONDS, Tape

COLUMNS: Final = 100
PROMPT: Final = "\x1b[1;32m$\x1b[0m "
PATIENCE_SECONDS: Final = 1200.0
COMMAND_SECONDS: Final = 120.0
CTRL_C, CTRL_D = "c", "d"


class UnexpectedEndError(Exception):
    """A command ended otherwise than the scene tells. The message holds what it has shown."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A pseudo-terminal in a folder, whose output goes onto a tape."""

    tape: Tape
    rows: int
    folder: Path
    environment: Mapping[str, str]

    def run(self, line: str, *, code: int = 0, reading: float = 3.0, line_seconds: float = 0.0) -> None:
        """Type a command and wait for its end. Raises UnexpectedEndError for another exit code."""
        child = self._start(line)
        self.tape.line_seconds = line_seconds
        child.expect(pexpect.EOF)
        self.tape.line_seconds = 0.0
        self._end(child, line, code, reading)

    def follow(self, line: str, *, shown_in: float, reading: float = 3.0) -> None:
        """Type a command that goes on for minutes, and wait for its end. Raises UnexpectedEndError where it fails."""
        child = self._start(line)
        with self.tape.within(shown_in):
            child.expect(pexpect.EOF, timeout=PATIENCE_SECONDS)
        self._end(child, line, 0, reading)

    def watch(self, line: str, until: Callable[[], bool], *, shown_in: float, reading: float = 3.0) -> None:
        """Type a command that never ends, look on until something is true, and press Ctrl-C.

        Raises UnexpectedEndError where it does not become true.
        """
        child = self._start(line)
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self.tape.within(shown_in):
            child.expect(r"\S")  # a program that is slow to start has shown nothing of what is true already
            while not until():
                has_ended = child.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=1.0)
                if has_ended or time.monotonic() > deadline:
                    raise UnexpectedEndError(f"`{line}` has not shown the end of the scene:\n{child.before}")
            child.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=5.0)  # the last look comes onto the tape
        self.tape.rest(reading)
        child.setecho(False)  # `^C` behind a line that is as wide as the terminal would begin another one
        child.sendcontrol(CTRL_C)
        child.expect(pexpect.EOF)
        self._end(child, line, 130, 0.5)

    def talk(self, line: str, prompt: str, texts: tuple[str, ...], *, reading: float = 3.0) -> None:
        """Type a command that asks, answer it text by text, and press Ctrl-D."""
        child = self._start(line)
        for text in texts:
            child.expect_exact(prompt)
            for key in text:
                child.send(key)
                child.expect(pexpect.TIMEOUT, timeout=KEY_SECONDS)
            child.send("\n")
        child.expect_exact(prompt)
        self.tape.rest(reading)
        child.sendcontrol(CTRL_D)
        child.expect(pexpect.EOF)
        self._end(child, line, 0, 0.5)

    def _start(self, line: str) -> pexpect.spawn[str]:
        self.tape.write(PROMPT)
        self.tape.rest(0.5)
        self.tape.key_in(line)
        self.tape.rest(0.3)
        self.tape.write("\r\n")
        child: pexpect.spawn[str] = pexpect.spawn(
            *("/bin/bash", ["-c", line]),
            dimensions=(self.rows, COLUMNS),
            cwd=str(self.folder),
            env=dict(self.environment),
            encoding="utf-8",
            timeout=COMMAND_SECONDS,
        )
        child.logfile_read = self.tape
        return child

    def _end(self, child: pexpect.spawn[str], line: str, code: int, reading: float) -> None:
        child.close()
        if child.exitstatus != code:
            raise UnexpectedEndError(f"`{line}` ended with {child.exitstatus} instead of {code}:\n{child.before}")
        self.tape.rest(reading)
