"""What this machine has, and the few things it may have to be given."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from graft_cluster.docker.runtime_wrapper import missing_capabilities
from graft_cluster.steps import StepFailed, Steps, say

#: Debian package -> a program that shows it is there.
ENGINE_PACKAGES = {
    "docker.io": "/usr/sbin/dockerd",
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "iptables": "/usr/sbin/iptables",
    "debootstrap": "/usr/sbin/debootstrap",
}


def ensure_engine_packages(steps: Steps) -> None:
    """Install Debian's Docker Engine where it is missing, without starting it."""
    missing = [p for p, proof in ENGINE_PACKAGES.items() if not Path(proof).exists()]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise StepFailed(
            "No usable Docker daemon, and an own one needs root on Debian or Ubuntu "
            f"with these packages: {' '.join(missing)}"
        )
    say(f"! this machine gets the Debian packages {', '.join(missing)}")
    # RUNLEVEL=1 keeps the packages from starting their services.
    environment = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with steps.step("install Debian packages", **environment) as step:
        step.run(["apt-get", "update", "-qq"])
        install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends"]
        step.run([*install, *missing])


def lacks_capabilities() -> bool:
    """Whether a privileged container cannot be given everything here."""
    return bool(missing_capabilities(Path("/proc/self/status").read_text()))


def private_authorities() -> str:
    """The machine's own certificate authorities, or "" when it has none.

    Behind a TLS-inspecting proxy the builds inside containers need them too.
    Only what an administrator added counts: public ones come with the image.
    """
    added = Path("/usr/local/share/ca-certificates")
    found = sorted(added.rglob("*.crt")) if added.is_dir() else []
    return "".join(path.read_text().strip() + "\n" for path in found)


def docker_answers(environment: dict[str, str]) -> bool:
    """Whether a Docker daemon answers in that environment."""
    if shutil.which("docker") is None:
        return False
    return (
        subprocess.run(
            ["docker", "info"],
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )


def ensure_sysctl(wanted: dict[str, str]) -> None:
    """Raise kernel settings that are too low for several nodes, and say so."""
    for name, value in wanted.items():
        path = Path("/proc/sys") / name.replace(".", "/")
        try:
            current = path.read_text().strip()
        except OSError:
            continue
        if int(current) < int(value):
            say(f"! this machine's {name} goes from {current} to {value}")
            path.write_text(value)
