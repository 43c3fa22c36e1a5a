"""A bucket full of adapters, imported by one ``kubectl apply -k``, beside loading them by the engine's API.

Run by ``make test-soak``. ``GRAFT_SOAK_IMPORTS`` says how many.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from demo.cluster import Object, condition
from tests.e2e.figures import Figures
from tests.e2e.plain_adapters import as_pickle, train_plainly
from tests.e2e.serving import REPLICAS, Serving
from tests.e2e.soak.plain_engines import plain_engines
from tests.e2e.tenant import SOURCES

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

IMPORTS = int(os.environ.get("GRAFT_SOAK_IMPORTS", "200"))
BAD_EVERY = 40
"""Of so many adapters one is only a pickle: it must be named, and hold up nobody."""
STEPS = 40
IMPORT_SECONDS = 5400.0
VOLUME = "graft-imports"
ADAPTERS = "loraadapters.graft.dev"


@dataclass(frozen=True, slots=True)
class Collection:
    """The adapters, by name, as they lie in the bucket, and in a folder that plain engines see."""

    folder: Path
    good: list[str]
    bad: list[str]


@pytest.fixture(scope="module")
def collection(serving: Serving, models: Path) -> Iterator[Collection]:
    """Make many adapters of one that was trained, each with weights of its own, and bring them to the bucket."""
    folder = serving.tenant.environment.cache / "volumes" / VOLUME
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(models / "base-v1", folder / "base-v1", copy_function=shutil.copyfile)
    train_plainly(models / "base-v1", models / "data" / "topic.small.jsonl", folder / "first", steps=STEPS)
    names = [f"found-{number:03}" for number in range(IMPORTS)]
    bad = names[BAD_EVERY - 1 :: BAD_EVERY]
    for number, name in enumerate(names):
        variant(folder / "first", folder / name, 1 + number / (10 * IMPORTS))
        if name in bad:
            as_pickle(folder / name)
        serving.tenant.bucket.upload(folder / name, place(name))
    yield Collection(folder, [name for name in names if name not in bad], bad)
    shutil.rmtree(folder)


def variant(source: Path, target: Path, scale: float) -> None:
    """Write an adapter of other content: every B a little larger."""
    from safetensors.torch import load_file, save_file

    target.mkdir()
    shutil.copyfile(source / "adapter_config.json", target / "adapter_config.json")
    weights = load_file(source / "adapter_model.safetensors")
    scaled = {name: tensor * scale if "lora_B" in name else tensor for name, tensor in weights.items()}
    save_file(scaled, target / "adapter_model.safetensors")
    # safetensors writes for its user alone; plain engines are somebody else.
    (target / "adapter_model.safetensors").chmod(0o644)


def place(name: str) -> str:
    """Return where an adapter lies in the bucket."""
    return f"{SOURCES}/found/{name}"


def test_a_bucket_of_adapters_answers_after_one_apply(
    serving: Serving, collection: Collection, figures: Figures, tmp_path: Path
) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.base(replicas=REPLICAS, maxLoadedAdapters=IMPORTS + 16))
    serving.wait_rolled_out()
    write_kustomization(serving, [*collection.good, *collection.bad], tmp_path)
    begun = time.monotonic()
    tenant.cluster.kubectl("apply", "-k", str(tmp_path))
    answered = wait_for_all(serving, collection, begun)
    seconds = sorted(answered.values())
    figures.note(f"{IMPORTS} adapters imported by one apply: the first answers", seconds[0], "s")
    figures.note(f"{IMPORTS} adapters imported by one apply: half of them answer", median(seconds), "s")
    figures.note(f"{IMPORTS} adapters imported by one apply: all answer", seconds[-1], "s")
    for name in collection.bad:
        stalled = condition(tenant.read(name), "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "SourceInvalid"), (name, stalled)


def test_the_same_bucket_by_the_engine_s_api_in_a_loop(
    serving: Serving, collection: Collection, figures: Figures
) -> None:
    with plain_engines(serving.tenant, collection.folder / "base-v1", VOLUME) as engines:
        begun = time.monotonic()
        for name in collection.good:
            engines.load(name, name)
        seconds = time.monotonic() - begun
    figures.note(f"{len(collection.good)} adapters by the engine's API in a loop, unproven", seconds, "s")


def write_kustomization(serving: Serving, names: list[str], folder: Path) -> None:
    """Write the adapters as a team keeps them in Git: a file each, and a kustomization."""
    tenant = serving.tenant
    for name in names:
        adapter = tenant.adapter(name, evaluation={"prompts": serving.sample[:8]})
        for field in ("dataset", "training", "lora"):
            del adapter["spec"][field]
        adapter["spec"]["source"] = {"s3": {"uri": f"{tenant.bucket.uri(place(name))}/"}}
        # Each node of the local cluster takes all cores of the machine for its own: one import on each is two on two
        # cores, and more would only wait for one another, and the operator for all of them.
        adapter["spec"]["pod"] = {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
        (folder / f"{name}.yaml").write_text(json.dumps(adapter))
    (folder / "kustomization.yaml").write_text(json.dumps({"resources": [f"{name}.yaml" for name in names]}))


def wait_for_all(serving: Serving, collection: Collection, begun: float) -> Mapping[str, float]:
    """Wait until every good adapter answers on all replicas; return seconds until each did."""
    answered: dict[str, float] = {}

    def all_answer(seen: Mapping[str, Object]) -> bool:
        for name in collection.good:
            if name not in answered and name in seen and condition(seen[name], "Ready")["status"] == "True":
                answered[name] = time.monotonic() - begun
        told = [name for name in collection.bad if condition(seen[name], "Stalled")["status"] == "True"]
        return len(answered) == len(collection.good) and len(told) == len(collection.bad)

    tenant = serving.tenant
    tenant.cluster.wait_for(ADAPTERS, tenant.namespace, all_answer, what="all adapters answer", timeout=IMPORT_SECONDS)
    return answered
