"""`python -m demo`: the whole life of two adapters on a real cluster, told in a few minutes. See `make demo`."""

from __future__ import annotations

import argparse
import sys

from demo import release
from demo.cluster import Cluster, CommandFailedError, WaitTimedOutError
from demo.environment import EnvironmentIncompleteError, read_environment
from demo.progress import AdapterStalledError
from demo.stage import NAMESPACE, HubBase, Stage
from demo.story.chapters import tell

EXPECTED = (
    AdapterStalledError,
    CommandFailedError,
    EnvironmentIncompleteError,
    LookupError,
    WaitTimedOutError,
)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="demo", description=__doc__)
    made.add_argument("--down", action="store_true", help="remove the demo's namespace and the release")
    made.add_argument("--base", metavar="REPO", help="base on the Hugging Face hub, in place of the demo's small one")
    made.add_argument("--revision", default="main", help="its branch, tag or commit (default: main)")
    made.add_argument("--next-revision", help="revision that the base is bumped to; without it there is no bump")
    return made


def main() -> int:
    """Run; whatever can go wrong outside of this program ends with a message, not with a traceback."""
    given = parser().parse_args()
    hub = HubBase(repo=given.base, revision=given.revision, next_revision=given.next_revision) if given.base else None
    try:
        environment = read_environment()
        if given.down:
            take_down(Cluster.of(environment))
        else:
            tell(Stage.of(environment, hub))
    except EXPECTED as error:
        print(f"\n✗ {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n✗ interrupted; `make demo` goes on from here", file=sys.stderr)
        return 130
    return 0


def take_down(cluster: Cluster) -> None:
    """Remove what the demo has put into the cluster; the registry keeps its versions."""
    for kind in ("loraadapters.graft.dev", "basemodels.graft.dev"):
        cluster.kubectl("delete", kind, "--all", "-n", NAMESPACE, "--ignore-not-found", timeout=300)
    cluster.delete("namespace", NAMESPACE)
    release.uninstall(cluster)


if __name__ == "__main__":
    sys.exit(main())
