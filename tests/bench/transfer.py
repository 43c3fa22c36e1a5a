"""Publishing and fetching through the registry against plain boto3: ``make bench-transfer``.

Both send the same file to the same local server, by turns, and the medians of the ratios are printed. The registry
hashes, checks, commits and verifies besides.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import boto3
from tests.bench.object_store import object_store
from tests.unit.registry.builders import version_draft

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "build" / "bench-transfer.json"
MEGABYTE = 10**6
WEIGHTS = "adapter_model.safetensors"


def write_adapter(folder: Path, size: int) -> None:
    """Write the two files of an adapter of one large tensor."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    block = bytes(range(256)) * 4096
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(size // len(block)):
            file.write(block)
        file.write(block[: size % len(block)])


class Stopwatch:
    """Seconds of every turn, by what was done."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time the block."""
        begin = time.perf_counter()
        yield
        self.seconds[name].append(time.perf_counter() - begin)


def measure(config: RegistryConfig, folder: Path, size: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each way took to send and to fetch an adapter of so many bytes, by rounds."""
    source, plain, fetched = folder / "adapter", folder / "plain", folder / "fetched"
    client = boto3.client("s3", endpoint_url=config.endpoint, region_name="us-east-1")
    write_adapter(source, size)
    watch = Stopwatch()
    for turn in range(rounds):
        draft = version_draft(adapter=f"adapter-{size}-{turn}")
        registry = AdapterRegistry(ObjectStore(config), draft.namespace, draft.adapter)
        with watch.time("upload_file"):
            client.upload_file(str(source / WEIGHTS), config.bucket, "plain")
        with watch.time("publish"):
            published = registry.publish(draft, source)
        with watch.time("download_file"):
            client.download_file(config.bucket, "plain", str(plain))
        with watch.time("fetch"):
            registry.fetch(published, fetched)
        plain.unlink()
        shutil.rmtree(fetched)
        registry.delete_all()
    shutil.rmtree(source)
    return dict(watch.seconds)


def table(results: dict[int, dict[str, list[float]]]) -> str:
    """Return the results as Markdown."""
    lines = ["| adapter | | plain boto3 | registry | ratio |", "|---|---|---|---|---|"]
    for size, seconds in results.items():
        for plain, ours in (("upload_file", "publish"), ("download_file", "fetch")):
            ratio = median(mine / theirs for mine, theirs in zip(seconds[ours], seconds[plain], strict=True))
            cells = (f"{median(seconds[plain]):.2f} s", f"{median(seconds[ours]):.2f} s", f"{ratio:.2f}")
            lines.append(f"| {size // MEGABYTE:,} MB | {ours} against {plain} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, nargs="+", default=(80, 1000), help="sizes of the adapters")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, object_store(Path(name) / "s3") as config:
        sizes = [count * MEGABYTE for count in arguments.megabytes]
        results = {size: measure(config, Path(name), size, arguments.rounds) for size in sizes}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
