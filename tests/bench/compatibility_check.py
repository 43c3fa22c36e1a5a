"""What it costs to tell whether an adapter fits a base, before it is loaded: ``make bench-check``.

The adapter has rank 1 and the tensors of one for a model of 8 billion parameters: 448 in its header.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from tests.unit.registry.builders import HIDDEN, Tensors, base_manifest, version_on, write_adapter, write_model

from graft_serving.adapters.checks import version_check

ROUNDS = 200
LAYERS = 32
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
NAMES = tuple(f"model.layers.{layer}.{module}" for layer in range(LAYERS) for module in MODULES)


def halves() -> Tensors:
    """Return the adapter's tensors."""
    tensors: Tensors = {}
    for name in NAMES:
        tensors[f"base_model.model.{name}.lora_A.weight"] = ("F32", (1, HIDDEN))
        tensors[f"base_model.model.{name}.lora_B.weight"] = ("F32", (HIDDEN, 1))
    return tensors


def main() -> None:
    """Check the same adapter again and again, and print milliseconds."""
    with tempfile.TemporaryDirectory() as name:
        adapter = write_adapter(Path(name, "adapter"), tensors=halves(), r=1, target_modules="all-linear")
        base = base_manifest(write_model(Path(name, "base")))
        fitting = base.model_copy(update={"linear_modules": dict.fromkeys(NAMES, (HIDDEN, HIDDEN))})
        check, manifest = version_check(fitting, max_rank=16), version_on(base)
        milliseconds = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            check(adapter, manifest)
            milliseconds.append(1000 * (time.perf_counter() - begun))
    print(f"one check: median {median(milliseconds):.2f} ms, slowest of {ROUNDS} {max(milliseconds):.2f} ms")


if __name__ == "__main__":
    main()
