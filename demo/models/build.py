"""Builds what the demo and the end-to-end tests train and serve: two bases and the rows of two adapters.

    python -m demo.models.build --out DIR

writes ``DIR/base-v1``, ``DIR/base-v2`` (the same model, trained further on other text),
``DIR/data/<adapter>.<split>.jsonl`` and ``DIR/specs/<adapter>.json``, the parts of a LoraAdapter's spec that suit them.
The first build takes some minutes on two cores; later ones copy from the cache (``$GRAFT_CACHE/demo``, by default
``~/.cache/graft/demo``).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path

from demo.models import adapter_rows, wordnet
from demo.models.recipe import Recipe

LORA = {"rank": 16, "alpha": 32, "dropout": "0.05", "targetModules": ["all-linear"]}
TRAINING = {
    "epochs": 2,
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
    bases = build_bases(synsets, cache, Recipe())
    for name in ("base-v1", "base-v2"):
        shutil.copytree(bases / name, out / name, dirs_exist_ok=True)
    adapter_rows.write_rows(synsets, out / "data")
    (out / "specs").mkdir(exist_ok=True)
    for name, spec in SPECS.items():
        (out / "specs" / f"{name}.json").write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
    print(f"built {out}")


def build_bases(synsets: list[wordnet.Synset], cache: Path, recipe: Recipe) -> Path:
    """Pretrain both bases unless the cache has those of this very recipe; return their folder."""
    folder = cache / f"bases-{recipe.digest}"
    if folder.is_dir():
        return folder
    # Torch takes seconds to import, which a cached build does not need.
    from demo.models.base_model import documents, new_model, pretrain, save, train_tokenizer

    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    begun = time.monotonic()
    tokenizer = train_tokenizer(synsets, recipe)
    model = new_model(tokenizer, recipe)
    print(f"pretraining two bases of {model.num_parameters():,} parameters")
    for name, course in (("base-v1", recipe.course), ("base-v2", recipe.further_course)):
        loss = pretrain(model, documents(synsets, tokenizer, seed=course.seed), tokenizer, recipe, course)
        save(model, tokenizer, partial / name)
        print(f"{name}: loss {loss:.3f} after {time.monotonic() - begun:.0f} s")
    partial.rename(folder)
    return folder


if __name__ == "__main__":
    main()
