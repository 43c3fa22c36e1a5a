"""``python -m graft_gpu bundle`` here, ``python -m graft_gpu check`` on the machine with the GPU."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "build" / "gpu-bundle.tar.xz"
SECONDS = {"tests": 240, "QLoRA of 7B": 90, "QLoRA of 65B on 48 GB": 130, "LoRA of 7B in bfloat16": 90}
"""At most for each stage: under ten minutes together."""


def main() -> int:
    """Pack, check, or (in a process of its own) measure one training."""
    parser = argparse.ArgumentParser(prog="graft_gpu", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("bundle", help="pack what the machine lacks")
    packing.add_argument("--python", default="3.12", help="version of its Python")
    packing.add_argument("--cuda", default="130", help="CUDA version of its PyTorch, without the point")
    packing.add_argument("--has", type=Path, help="file with the names of its packages, such as `pip list` prints")
    checking = commands.add_parser("check", help="run the tests and the trainings")
    checking.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-check.json", help="what was found, as JSON")
    measuring = commands.add_parser("measure", help="one training, for check")
    measuring.add_argument("name")
    for command in (checking, measuring):
        command.add_argument("--dry-run", action="store_true", help="tiny shapes, on whatever there is")
    chosen = parser.parse_args()
    if chosen.command == "bundle":
        return _bundle(chosen)
    return _measure(chosen.name, dry_run=chosen.dry_run) if chosen.command == "measure" else _check(chosen)


def _bundle(chosen: argparse.Namespace) -> int:
    from graft_gpu.bundle import pack

    has = [line.split()[0] for line in chosen.has.read_text().splitlines() if line.strip()] if chosen.has else []
    size = pack(BUNDLE, python=chosen.python, cuda=chosen.cuda, has=has)
    print(f"{BUNDLE.relative_to(ROOT)}: {size / 2**20:.1f} MiB")
    return 0


def _measure(name: str, *, dry_run: bool) -> int:
    from graft_gpu.trainings import BESIDE_A_BARE_LOOP, TRAININGS, measure, tiny

    training = tiny(TRAININGS[name]) if dry_run else TRAININGS[name]
    print(json.dumps(measure(training, bare=name == BESIDE_A_BARE_LOOP).to_dict()))
    return 0


def _check(chosen: argparse.Namespace) -> int:
    """Run every stage, whatever became of the others, and write down after each what is known."""
    dry = ["--dry-run"] if chosen.dry_run else []
    # Without a GPU there is nothing that these tests could show: that they are found has to do.
    pytest = ["-m", "pytest", "-q", "-m", "gpu", "tests/trainer", *(["--collect-only"] if dry else [])]
    found: dict[str, Any] = {}
    for name, seconds in SECONDS.items():
        words = pytest if name == "tests" else ["-m", "graft_gpu", "measure", name, *dry]
        found[name] = _stage(words, seconds)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(found, indent=1))
    # pytest's 5: no test was found, as where there is no GPU.
    return int(any(stage["code"] not in ((0, 5) if dry else (0,)) for stage in found.values()))


def _stage(words: list[str], seconds: int) -> dict[str, Any]:
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"code": 124, "seconds": seconds, "said": f"not over after {seconds} s"}
    stage: dict[str, Any] = {"code": done.returncode, "seconds": round(time.monotonic() - began)}
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode == 0 and last.startswith("{"):
        measured: dict[str, Any] = json.loads(last)
        return stage | measured
    return stage | {"said": last if done.returncode in (0, 5) else (done.stdout + done.stderr)[-2000:]}


if __name__ == "__main__":
    sys.exit(main())
