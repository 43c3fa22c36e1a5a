"""Builds what the demo and the end-to-end tests train and serve: two bases and the rows of two adapters.

    python -m demo.models.build --out DIR

writes ``DIR/base-v1``, ``DIR/base-v2`` (the same model, trained further on other text),
``DIR/data/<adapter>.<split>.jsonl`` and ``DIR/specs/<adapter>.json``, the parts of a LoraAdapter's spec that suit them.
The first build takes some minutes on two cores; later ones copy from the cache (``$GRAFT_CACHE/demo``, by default
``~/.cache/graft/demo``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from demo.models import adapter_rows, wordnet

LORA = {"rank": 16, "alpha": 32, "dropout": "0.05", "targetModules": ["all-linear"]}
TRAINING = {
    "epochs": 3,
    "batchSize": 16,
    "gradientAccumulation": 1,
    "learningRate": "3e-3",
    "maxSequenceLength": 128,
    "evalSteps": 100,
    "checkpointSeconds": 10,
}
SPECS = {
    "topic": {"method": "LoRA", "lora": LORA, "training": TRAINING},
    "speech": {"method": "LoRA", "lora": LORA, "training": TRAINING},
    # A second version of the adapter: another rank, so another recipe.
    "topic-v2": {"method": "LoRA", "lora": LORA | {"rank": 32, "alpha": 64}, "training": TRAINING},
}


def main() -> None:
    """Build into ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; what is there is replaced")
    out: Path = parser.parse_args().out
    cache = Path(os.environ.get("GRAFT_CACHE") or Path.home() / ".cache/graft") / "demo"
    database = wordnet.fetch(cache)
    print(f"text: {wordnet.SOURCE}")
    synsets = list(wordnet.read_synsets(database))
    bases = build_bases(synsets, cache)
    for name in ("base-v1", "base-v2"):
        shutil.copytree(bases / name, out / name, dirs_exist_ok=True)
    adapter_rows.write_rows(synsets, out / "data")
    (out / "specs").mkdir(exist_ok=True)
    for name, spec in SPECS.items():
        (out / "specs" / f"{name}.json").write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
    print(f"built {out}")


def build_bases(synsets: list[wordnet.Synset], cache: Path) -> Path:
    """Pretrain both bases unless the cache has those of this very recipe; return their folder."""
    # Torch takes seconds to import, which a cached build does not need.
    from demo.models.base_model import Recipe, new_model, pretrain, save, train_tokenizer

    recipe = Recipe()
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:12]
    folder = cache / f"bases-{digest}"
    if folder.is_dir():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    begun = time.monotonic()
    tokenizer = train_tokenizer(synsets, recipe)
    model = new_model(tokenizer, recipe)
    print(f"pretraining base-v1 with {model.num_parameters():,} parameters")
    loss = pretrain(
        model, tokenizer, synsets, recipe, steps=recipe.steps, learning_rate=recipe.learning_rate, seed=recipe.seed
    )
    save(model, tokenizer, partial / "base-v1")
    print(f"base-v1: loss {loss:.3f}; going on to base-v2")
    loss = pretrain(
        model,
        tokenizer,
        synsets,
        recipe,
        steps=recipe.further_steps,
        learning_rate=recipe.further_learning_rate,
        seed=recipe.seed + 1,
    )
    save(model, tokenizer, partial / "base-v2")
    partial.rename(folder)
    print(f"base-v2: loss {loss:.3f}; both took {time.monotonic() - begun:.0f} s")
    return folder


if __name__ == "__main__":
    main()
