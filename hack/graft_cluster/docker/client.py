"""The few things this program asks of a Docker daemon, whichever one it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft_cluster.docker.build_context import BuildContext
from graft_cluster.steps import Step


@dataclass(frozen=True)
class Docker:
    """A daemon, reached through the environment its client needs."""

    environment: Mapping[str, str]
    #: An own engine has no default bridge, so its builds use the machine's network.
    host_network: bool = False

    def run(self, step: Step, *arguments: str | Path, stdin: str | None = None) -> None:
        """Run a docker command, its output going to the step's log."""
        step.run(["docker", *arguments], env=self.environment, stdin=stdin)

    def read(self, step: Step, *arguments: str) -> str:
        """Run a docker command and return what it printed."""
        return step.read(["docker", *arguments], env=self.environment).strip()

    def succeeds(self, *arguments: str) -> bool:
        """Whether a docker command succeeds; its output is of no interest."""
        return not self.complaint(*arguments)

    def complaint(self, *arguments: str, timeout: float | None = None) -> str:
        """What a docker command says when it fails; nothing when it succeeds."""
        try:
            done = subprocess.run(
                ["docker", *arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"docker {arguments[0]} has taken more than {timeout:.0f} s"
        if done.returncode == 0:
            return ""
        return " ".join(done.stderr.split()) or f"docker {arguments[0]} ended with status {done.returncode}"

    def has_image(self, reference: str) -> bool:
        """Whether the daemon has that image."""
        return self.succeeds("image", "inspect", reference)

    def build(
        self,
        step: Step,
        context: BuildContext,
        tag: str,
        arguments: Mapping[str, str] | None = None,
        target: str = "",
    ) -> None:
        """Build an image from exactly the files of a context."""
        words = ["docker", "build", f"--tag={tag}"]
        if self.host_network:
            words.append("--network=host")
        for name, value in (arguments or {}).items():
            words.append(f"--build-arg={name}={value}")
        if target:
            words.append(f"--target={target}")
        words += [f"--file={context.dockerfile}", "-"]
        self._pipe(step, words, context)

    def _pipe(self, step: Step, words: Sequence[str], context: BuildContext) -> None:
        archive = step.log.with_suffix(".tar")
        context.write_archive(archive)
        try:
            quoted = " ".join(f"'{word}'" for word in words)
            step.run(
                ["sh", "-c", f'exec {quoted} < "$1"', "sh", archive],
                env=self.environment,
            )
        finally:
            archive.unlink(missing_ok=True)
