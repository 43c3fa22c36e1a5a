"""kubectl and helm: what the demo and the end-to-end tests do to a cluster, with errors that say what failed."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from demo.environment import Environment

Object = dict[str, Any]
FIELD_MANAGER = "graft-demo"
ESTABLISHED_SECONDS = 60.0


class CommandFailedError(Exception):
    """kubectl or helm failed. The message holds the command and what it said."""


class WaitTimedOutError(Exception):
    """Something did not become true in time. The message says what, and what was seen last."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch, and when it arrived (``time.time()``)."""

    type: str
    object: Object
    arrived: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster, reached as the kubeconfig's user."""

    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, facts: Environment) -> Cluster:
        """Use the cluster and the programs that the environment names."""
        environment = dict(os.environ)
        if facts.kubeconfig:
            environment["KUBECONFIG"] = facts.kubeconfig
        if facts.programs:
            environment["PATH"] = f"{facts.programs}:{environment['PATH']}"
        return cls(environment)

    def run(self, *command: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run a program and return what it printed. Raises CommandFailedError."""
        words = " ".join(command[:8])
        try:
            done = subprocess.run(
                command,
                env=self.environment,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise CommandFailedError(f"{command[0]} is not installed: run `make cluster-up`") from None
        except subprocess.TimeoutExpired:
            raise CommandFailedError(f"`{words}` took longer than {timeout:.0f} s") from None
        if done.returncode:
            raise CommandFailedError(f"`{words}` failed:\n{(done.stderr or done.stdout).strip()}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl. Raises CommandFailedError."""
        return self.run("kubectl", *arguments, stdin=stdin, timeout=timeout)

    def apply(self, *objects: Object) -> str:
        """Apply objects, server-side; return kubectl's words."""
        listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        manager = f"--field-manager={FIELD_MANAGER}"
        return self.kubectl("apply", "--server-side", "--force-conflicts", manager, "-f", "-", stdin=listing)

    def wait_for_kinds(self, *definitions: str) -> None:
        """Wait until kinds are served whose definitions were just applied. Raises WaitTimedOutError."""
        # `kubectl wait` fails while there are no conditions yet, by whatever it is to wait for.
        deadline = time.monotonic() + ESTABLISHED_SECONDS
        while missing := [name for name in definitions if not self._is_established(name)]:
            if time.monotonic() > deadline:
                raise WaitTimedOutError(f"the API server does not serve {', '.join(missing)} yet")
            time.sleep(0.2)

    def _is_established(self, definition: str) -> bool:
        found = self.get("crd", definition) or {}
        conditions = found.get("status", {}).get("conditions") or ()
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object, or None if it isn't there."""
        text = self.kubectl("get", kind, name, *_scope(namespace), "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Return the objects of a kind that match a label selector."""
        text = self.kubectl("get", kind, *_scope(namespace), f"--selector={selector}", "-o", "json")
        items: list[Object] = json.loads(text)["items"]
        return items

    def delete(self, kind: str, name: str, namespace: str = "", *more: str) -> None:
        """Delete one object if it is there, and wait until it is gone unless ``--wait=false``."""
        self.kubectl("delete", kind, name, *_scope(namespace), "--ignore-not-found", *more, timeout=300)

    def watch(
        self, kind: str, namespace: str, *, timeout: float, name: str = "", selector: str = ""
    ) -> Generator[Event, None, None]:
        """Yield what is there and then every change, until the time is up."""
        only = [f"--field-selector=metadata.name={name}"] if name else []
        only += [f"--selector={selector}"] if selector else []
        command = ["kubectl", "get", kind, "-n", namespace, *only, "--watch", "--output-watch-events", "-o", "json"]
        with self._streaming(command, timeout) as lines:
            for document in map(json.loads, lines):
                yield Event(document["type"], document["object"], time.time())

    def wait_for(
        self,
        kind: str,
        namespace: str,
        holds: Callable[[Mapping[str, Object]], bool],
        *,
        what: str,
        timeout: float,
        name: str = "",
        selector: str = "",
    ) -> dict[str, Object]:
        """Wait until ``holds`` is true of the objects by name; return them. Raises WaitTimedOutError."""
        deadline = time.monotonic() + timeout
        seen: dict[str, Object] = {}
        while (left := deadline - time.monotonic()) > 0:
            seen = {item["metadata"]["name"]: item for item in self.list(kind, namespace, selector)}
            seen = {key: item for key, item in seen.items() if not name or key == name}
            if holds(seen):
                return seen
            for event in self.watch(kind, namespace, timeout=left, name=name, selector=selector):
                key = event.object["metadata"]["name"]
                if event.type == "DELETED":
                    seen.pop(key, None)
                else:
                    seen[key] = event.object
                if holds(seen):
                    return seen
        raise WaitTimedOutError(f"not true after {timeout:.0f} s: {what}\n{summary(seen)}")

    @contextmanager
    def _streaming(self, command: Sequence[str], timeout: float) -> Iterator[Iterator[str]]:
        with subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            timer = threading.Timer(timeout, process.kill)
            timer.start()
            try:
                yield iter(process.stdout or ())
            finally:
                timer.cancel()
                process.kill()


def _scope(namespace: str) -> list[str]:
    return ["-n", namespace] if namespace else []


def condition(item: Object | None, kind: str) -> Object:
    """Return the condition of that type, or one with status Unknown."""
    conditions = (item or {}).get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), {"type": kind, "status": "Unknown"})


def holds(item: Object | None, kind: str, status: str = "True") -> bool:
    """Whether a condition of the object's current spec has that status."""
    if item is None or item.get("status", {}).get("observedGeneration") != item["metadata"]["generation"]:
        return False
    return bool(condition(item, kind)["status"] == status)


def summary(objects: Mapping[str, Object]) -> str:
    """Return a line per object with what its conditions say, for error messages."""
    lines = []
    for name, item in objects.items():
        told = [
            f"{entry['type']}={entry['status']} {entry.get('reason', '')} {entry.get('message', '')}".strip()
            for entry in item.get("status", {}).get("conditions", [])
        ]
        lines.append(f"  {name}: " + ("; ".join(told) or "no conditions"))
    return "\n".join(lines) or "  nothing is there"
