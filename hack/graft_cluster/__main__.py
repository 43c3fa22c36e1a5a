"""The command line: up, down, status, images, gitops, kueue, pins, doctor, and what else stands in ``parser``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from graft_cluster.addons.gitops.tools import TOOLS as GITOPS_TOOLS
from graft_cluster.cache import Cache
from graft_cluster.images import pins
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.lifecycle import Lifecycle
from graft_cluster.lock import only_one
from graft_cluster.programs import golang
from graft_cluster.programs.prometheus import ensure_prometheus
from graft_cluster.reports import doctor, facts, status
from graft_cluster.steps import StepFailed, format_seconds, say

CHECKOUT = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="graft_cluster", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make the cluster, or repair it")
    images = commands.add_parser("images", help="build and push what changed")
    for command in (up, images):
        command.add_argument("--light", action="store_true", help="leave out everything built on torch")
    publish = commands.add_parser("publish-images", help="push the images to where others pull them from")
    publish.add_argument("--to", required=True, help="such as registry.example.com/graft")
    kueue = commands.add_parser("kueue", help="install Kueue, which decides when Jobs in queues run")
    kueue.add_argument("--program", action="store_true", help="build its program, and nothing else")
    kueue.add_argument("--remove", action="store_true", help="take it away again, with everything in its queues")
    commands.add_parser("down", help="delete the cluster, stop all processes")
    commands.add_parser("status", help="say what is running")
    commands.add_parser("registry-program", help="build the OCI registry that tests start themselves")
    gitops = commands.add_parser("gitops", help="build Flux, Argo CD and a Git server, and render their manifests")
    gitops.add_argument("--only", choices=GITOPS_TOOLS, help="leave the other one out")
    commands.add_parser("pins", help="rewrite the constraints files")
    commands.add_parser("kubeconfig", help="print the kubeconfig's path")
    commands.add_parser("prometheus", help="fetch the programs by which rules and dashboards are tested")
    commands.add_parser("doctor", help="say what this machine offers and lacks")
    return made


def main() -> int:
    """Run one command; a failed step ends with a message, not a traceback."""
    arguments = parser().parse_args()
    cache = Cache.from_environment()
    started = time.monotonic()
    try:
        run(arguments, cache)
    except StepFailed as failure:
        say(f"✗ {failure}")
        return 1
    except KeyboardInterrupt:
        say("✗ interrupted; run the same command again to go on")
        return 130
    if arguments.command in {"up", "down", "images", "publish-images", "gitops"}:
        say(f"Done in {format_seconds(time.monotonic() - started)}.")
    return 0


def run(arguments: argparse.Namespace, cache: Cache) -> None:
    """Run a command, under the lock if it changes something."""
    if arguments.command == "kubeconfig":
        print(cache.kubeconfig)
    elif arguments.command == "doctor":
        doctor.report(cache)
    elif arguments.command == "status":
        lifecycle = Lifecycle(cache, CHECKOUT)
        status.report(cache, lifecycle.way, lifecycle.cluster)
    else:
        with only_one(cache):
            change(arguments, Lifecycle(cache, CHECKOUT))


def change(arguments: argparse.Namespace, lifecycle: Lifecycle) -> None:
    """Run one of the commands that change something. The caller holds the lock."""
    if arguments.command == "up":
        lifecycle.up(light=arguments.light)
        say(facts.for_people(lifecycle.cache.cluster_env.read_text()))
        say(f"To use it: source {lifecycle.cache.cluster_env}")
    elif arguments.command == "down":
        lifecycle.down()
    elif arguments.command == "images":
        lifecycle.images(light=arguments.light)
        print(lifecycle.cache.images_json.read_text(), end="")
    elif arguments.command == "publish-images":
        lifecycle.publish_images(Prebuilt.parse(arguments.to, "--to"))
    elif arguments.command == "kueue":
        if arguments.program:
            golang.ensure(lifecycle.cache, lifecycle.steps, golang.KUEUE)
        else:
            lifecycle.kueue(wanted=not arguments.remove)
    elif arguments.command == "gitops":
        print(lifecycle.gitops_tools([arguments.only] if arguments.only else GITOPS_TOOLS))
    elif arguments.command == "registry-program":
        golang.ensure(lifecycle.cache, lifecycle.steps, golang.REGISTRY)
    elif arguments.command == "prometheus":
        ensure_prometheus(lifecycle.cache, lifecycle.steps)
    elif arguments.command == "pins":
        python = lifecycle.images(light=True)["python"]
        pins.compile_all(lifecycle.steps, lifecycle.docker, python, CHECKOUT)


if __name__ == "__main__":
    sys.exit(main())
