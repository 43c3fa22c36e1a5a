"""Packs the packages that a machine lacks into one archive: those of the trainer and its tests, for one CUDA."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 60 << 20
PLATFORM = "x86_64-manylinux_2_28"
TESTS = ("pytest", "pytest-asyncio", "pytest-timeout", "moto[s3]", "flask", "flask-cors")
"""What tests/trainer needs beside the trainer."""
OWN_VERSIONS = frozenset({"transformers", "peft", "accelerate", "bitsandbytes", "tokenizers", "huggingface-hub"})
"""Packages whose own version the trainer was made for: they are taken along though the machine has another."""
OF_THE_MACHINE = re.compile(r"^(torch|triton|nvidia-.*|cuda-.*|setuptools)$")
"""What belongs to the machine's driver, and is far too large."""
UNUSED = ("bitsandbytes/libbitsandbytes_*.so", "**/__pycache__", "**/tests", "botocore/data/*")
BOTOCORE_USED = frozenset(
    {"s3", "sts", "endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}
)
"""Of the descriptions of all services, which are most of botocore."""


def pack(target: Path, *, python: str, cuda: str, has: Iterable[str]) -> int:
    """Write the archive and return its size.

    Args:
        target: a ``.tar.xz``; it holds one folder ``site`` for PYTHONPATH.
        python: version of the machine's Python, such as ``3.12``.
        cuda: of its PyTorch, such as ``130``.
        has: names of the packages that the machine has.

    Raises:
        SystemExit: it is larger than may travel.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        site = Path(name) / "site"
        lacking = needed(python, set(has))
        (Path(name) / "lacking.txt").write_text("\n".join(lacking))
        where = ("--target", site, "--python-version", python, "--python-platform", PLATFORM)
        _uv(
            "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", *where, "-r", Path(name) / "lacking.txt"
        )
        strip(site, cuda)
        with tarfile.open(target, "w:xz", preset=1) as archive:
            archive.add(site, "site")
    size = target.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{target} has {size >> 20} MiB, more than the {MOST_BYTES >> 20} that may travel")
    return size


def needed(python: str, has: set[str]) -> list[str]:
    """Return the pinned packages of the trainer and its tests that a machine with the packages ``has`` lacks."""
    compiled = _uv(
        "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python,
        "--python-platform", PLATFORM, "--extra", "trainer", "--constraints", ROOT / "constraints" / "dev.txt",
        ROOT / "pyproject.toml", "-", given="\n".join(TESTS),
    )  # fmt: skip
    pinned = [line.strip() for line in compiled.splitlines() if "==" in line]
    known = {_canonical(name) for name in has} - OWN_VERSIONS
    return [pin for pin in pinned if not _is_there(_canonical(pin.partition("==")[0]), known)]


def strip(site: Path, cuda: str) -> None:
    """Remove what the trainer doesn't use there: other CUDA versions, tests, and the services that aren't S3."""
    kept = site / "bitsandbytes" / f"libbitsandbytes_cuda{cuda}.so"
    if not kept.is_file():
        there = ", ".join(sorted(path.stem.partition("_cuda")[2] for path in kept.parent.glob("*_cuda*.so")))
        raise SystemExit(f"bitsandbytes has no build for CUDA {cuda}; it has {there}")
    for pattern in UNUSED:
        for path in list(site.glob(pattern)):
            if path in (kept, site / "bitsandbytes" / "libbitsandbytes_cpu.so") or path.name in BOTOCORE_USED:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_there(name: str, known: set[str]) -> bool:
    return name in known or OF_THE_MACHINE.match(name) is not None


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0].strip()).lower()


def _uv(*words: str | Path, given: str | None = None) -> str:
    program = shutil.which("uv") or next(iter(sorted((Path.home() / ".cache" / "graft").glob("uv-*/bin/uv"))), "uv")
    done = subprocess.run([program, *words], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"uv {words[1]} failed:\n{done.stderr[-3000:]}")
    return done.stdout
