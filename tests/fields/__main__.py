"""``python -m tests.fields``: try every field. Ends with 1 where anything is not as it must be."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys

from tests.control_plane import etcd_and_api_server
from tests.fields.against_operator import try_living
from tests.fields.against_server import NAMESPACE, Report, try_all
from tests.fields.cases import all_fields
from tests.simulator import world

PARTS = ("server", "operator")


async def run(parts: list[str], chosen: re.Pattern[str]) -> Report:
    """Try every field against the server, and then with the operator at work."""
    report = Report()
    if "server" in parts:
        async with etcd_and_api_server() as plane, plane.client() as client:
            await client.ensure_namespace(NAMESPACE)
            await try_all(client, report, chosen)
    if "operator" in parts:
        async with world() as there:
            await try_living(there, report, chosen)
    return report


def main() -> int:
    """Run, and print the counts and what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fields", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is tried; both")
    parser.add_argument("--fields", type=re.compile, default=re.compile(""), help="pattern, such as serving.rollout")
    arguments = parser.parse_args()
    # A run that is told to end must end what it has started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = asyncio.run(run(arguments.parts, arguments.fields))
    for complaint in report.wrong:
        print(complaint)
    print(f"{len(list(all_fields()))} fields, {report.counts.total()} cases:")
    print(", ".join(f"{count} {what}" for what, count in sorted(report.counts.items())))
    print(f"{len(report.wrong)} are not as they must be")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
