"""An OCI runtime that asks runc for no more than this machine may give.

A privileged container is promised every capability, rlimits and a low OOM
score. On a machine whose own bounding set lacks a capability (CAP_SYS_RESOURCE
inside some virtual machines and containers) runc then gives up: "unable to
apply caps". This program takes out of the request what cannot be had and runs
the real runc. It is copied into the cache and started by Docker, so it stands
alone and imports nothing of this package.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

# The kernel's numbers are the positions in this list.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
RUNC = "/usr/sbin/runc"


def bounding_set(status: str) -> set[str]:
    """The capabilities a process can have at all, from its /proc status."""
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            mask = int(line.split()[1], 16)
            return {f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if mask >> number & 1}
    return {f"CAP_{name}" for name in CAPABILITIES}


def missing_capabilities(status: str) -> set[str]:
    """What a privileged container could not be given here."""
    return {f"CAP_{name}" for name in CAPABILITIES} - bounding_set(status)


def relax_process(process: dict[str, Any], available: set[str]) -> None:
    """Take out of an OCI process what cannot be granted."""
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [n for n in names or [] if n in available]
    if (process.get("oomScoreAdj") or 0) < 0:
        process["oomScoreAdj"] = 0
    process.pop("rlimits", None)


def option(arguments: list[str], *names: str) -> str | None:
    """The value of a command line option, written either way."""
    for position, argument in enumerate(arguments):
        if argument in names and position + 1 < len(arguments):
            return arguments[position + 1]
        for name in names:
            if argument.startswith(f"{name}="):
                return argument.partition("=")[2]
    return None


def relax_file(path: Path, *, is_process: bool, available: set[str]) -> None:
    """Rewrite a config.json, or the process file of an exec."""
    content = json.loads(path.read_text())
    process = content if is_process else content.get("process") or {}
    relax_process(process, available)
    path.write_text(json.dumps(content))


def main() -> None:
    """Edit what runc is about to read, then become runc."""
    arguments = sys.argv[1:]
    available = bounding_set(Path("/proc/self/status").read_text())
    if "create" in arguments or "run" in arguments:
        bundle = option(arguments, "--bundle", "-b") or "."
        path = Path(bundle) / "config.json"
        relax_file(path, is_process=False, available=available)
    elif "exec" in arguments:
        process = option(arguments, "--process", "-p")
        if process:
            relax_file(Path(process), is_process=True, available=available)
    os.execv(RUNC, [RUNC, *arguments])


if __name__ == "__main__":
    main()
