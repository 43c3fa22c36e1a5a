"""``python -m tests.chaos``: many lives, each by its seed. Ends with 1 where a life ended wrong."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.faults import Fault
from tests.chaos.life import Outcome, live
from tests.simulator import world


async def run(seeds: list[int], parallel: int, patience: float, only: frozenset[Fault]) -> list[Outcome]:
    """Live all lives, ``parallel`` at a time, each in a world that it shares with none that runs beside it."""
    folder = Path(tempfile.gettempdir()) / "graft-chaos"
    folder.mkdir(exist_ok=True)
    waiting = iter(seeds)
    outcomes: list[Outcome] = []

    async def live_some() -> None:
        async with world() as there:
            for seed in waiting:
                outcome = await live(there, seed, patience=patience, folder=folder, only=only)
                outcomes.append(outcome)
                print(outcome.line(), flush=True)
                for complaint in outcome.complaints:
                    print(f"    {complaint}", flush=True)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(parallel, len(seeds))):
            tasks.create_task(live_some())
    print(f"Operators' logs: {folder}")
    return outcomes


def main() -> int:
    """Read the arguments, run, and sum up."""
    arguments = parser().parse_args()
    # A run that is told to end must end what it has started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seeds = arguments.seed or list(range(arguments.first, arguments.first + arguments.runs))
    only = frozenset(map(Fault, arguments.faults)) if arguments.faults else frozenset(Fault)
    outcomes = asyncio.run(run(seeds, arguments.parallel, arguments.patience, only))
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    wrong = sorted(outcome.seed for outcome in outcomes if outcome.complaints)
    print(f"{len(outcomes)} lives, {sum(item.acts for item in outcomes)} acts, {faults.total()} faults:")
    print(", ".join(f"{count} {name}" for name, count in faults.most_common()))
    print(f"{len(wrong)} ended wrong{': seeds ' + ' '.join(map(str, wrong)) if wrong else ''}")
    return 1 if wrong else 0


def parser() -> argparse.ArgumentParser:
    """Return the arguments; CHAOS_SEED runs one seed again."""
    given = os.environ.get("CHAOS_SEED")
    result = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    result.add_argument("--runs", type=int, default=200)
    result.add_argument("--first", type=int, default=1, help="seed of the first life")
    result.add_argument("--seed", type=int, nargs="+", default=[int(given)] if given else None)
    result.add_argument("--parallel", type=int, default=2)
    result.add_argument("--patience", type=float, default=120.0, help="seconds from the last fault to the right end")
    result.add_argument("--faults", nargs="+", choices=[str(fault) for fault in Fault], help="these alone")
    return result


if __name__ == "__main__":
    sys.exit(main())
