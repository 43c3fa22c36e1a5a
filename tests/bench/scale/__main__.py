"""``python -m tests.bench.scale``: measure, print, and write the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from pathlib import Path

from tests.bench.scale.neighbours import neighbours
from tests.bench.scale.report import Figures, table, write
from tests.bench.scale.steps import Bench, Options, bench
from tests.simulator import world

ROOT = Path(__file__).resolve().parents[3]
STEPS: dict[str, Callable[[Bench], Awaitable[Figures]]] = {
    "apply": Bench.apply,
    "restart": Bench.restart,
    "resync": Bench.resync,
    "bumps": Bench.bumps,
    "neighbours": neighbours,
}


async def measure(options: Options, steps: list[str]) -> Figures:
    """Run the steps in a world of their own. A step that fails is reported, and the others go on."""
    figures: Figures = {"options": asdict(options)}
    async with world() as there, bench(there, options) as measured:
        for name, step in {"prepare": Bench.prepare, **{name: STEPS[name] for name in steps}}.items():
            began = time.monotonic()
            try:
                figures[name] = await step(measured)
            except (RuntimeError, TimeoutError) as error:
                figures[name] = {"error": str(error)}
            took = time.monotonic() - began
            print(f"{options.adapters:,} adapters, {name} ({took:.0f} s): {json.dumps(figures[name])}", flush=True)
            if name == "prepare" and "error" in figures[name]:
                break
        figures["simulator_errors"] = there.simulator.errors
    return figures


def main() -> None:
    """Measure each size, write JSON for each, and the table of all."""
    arguments = parser().parse_args()
    # A run that is told to end must end what it has started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = {field.name: getattr(arguments, field.name) for field in fields(Options) if field.name != "adapters"}
    measurements = []
    for adapters in arguments.adapters:
        # Without that step all of them are there from the beginning.
        applied = min(arguments.applied, adapters - arguments.bases) if "apply" in arguments.steps else 0
        options = Options(**chosen | {"adapters": adapters, "applied": applied})
        measurements.append(asyncio.run(measure(options, arguments.steps)))
        arguments.json.mkdir(parents=True, exist_ok=True)
        (arguments.json / f"scale-{adapters}.json").write_text(json.dumps(measurements[-1], indent=1))
    text = table(measurements)
    print(text)
    if arguments.page:
        write(arguments.page, text)


def parser() -> argparse.ArgumentParser:
    """Return the arguments: every option, the sizes, the steps, and where the results go."""
    result = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    result.add_argument("--adapters", type=int, nargs="+", default=[1000, 10_000], help="sizes, one after the other")
    result.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    result.add_argument("--json", type=Path, default=ROOT / "build", help="folder for scale-<adapters>.json")
    result.add_argument("--page", type=Path, help="page whose table is replaced, such as docs/scale.md")
    for field in fields(Options):
        if field.name != "adapters":
            kind = type(field.default)
            result.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    return result


if __name__ == "__main__":
    main()
