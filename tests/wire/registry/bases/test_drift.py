"""The drift of a base from the one before: measured while it is imported, wherever the files of both are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.registry.builders import model_tensors, safetensors_file, write_model

from graft_registry.__main__ import main
from graft_registry.bases import BaseRegistry
from graft_registry.config import RegistryConfig
from graft_registry.documents import BaseDrift
from graft_registry.layout import BaseLayout
from graft_registry.s3.store import ObjectStore


def write_weights(directory: Path, *, scale: float, dtype: str = "F32", shards: int = 1, seed: int = 0) -> Path:
    """Write a model whose weights are drawn from ``seed``, spread over so many files."""
    write_model(directory)
    (directory / "model.safetensors").unlink()
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, (_, shape) in model_tensors().items():
        values = (scale * generator.standard_normal(shape)).astype(np.float32)
        data = values.tobytes() if dtype == "F32" else (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        tensors[name] = (dtype, shape, data)
    files = [f"model-{part + 1:05d}-of-{shards:05d}.safetensors" for part in range(shards)]
    weight_map = {name: files[index % shards] for index, name in enumerate(tensors)}
    for file in files:
        held = {name: tensor for name, tensor in tensors.items() if weight_map[name] == file}
        (directory / file).write_bytes(safetensors_file(held))
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return directory


class Importer:
    """Imports bases into one registry, each as the next revision of the one before."""

    def __init__(self, config: RegistryConfig, store: ObjectStore, folder: Path) -> None:
        self._environ = {"GRAFT_REGISTRY": config.model_dump_json(), "GRAFT_TERMINATION_LOG": str(folder / "log")}
        self._folder = folder
        self._store = store
        self.registry = BaseRegistry(store, "team-a", "tiny")

    def from_bucket(self, directory: Path, previous: str | None = None, **request: Any) -> str:
        prefix = f"sources/{directory.name}"
        for path in directory.iterdir():
            self._store.put(f"{prefix}/{path.name}", path.read_bytes())
        config = self._store.config
        uri = f"s3://{config.bucket}/{config.prefix}/{prefix}"
        return self._run({"source": {"s3": {"uri": uri}}, "previousDigest": previous, **request})

    def from_claim(self, directory: Path, previous: str | None = None, **request: Any) -> str:
        source = {"persistentVolumeClaim": {"claimName": "models", "path": directory.name}}
        return self._run({"source": source, "path": str(directory), "previousDigest": previous, **request})

    def _run(self, request: dict[str, Any]) -> str:
        environ = {"GRAFT_BASE_IMPORT": json.dumps({"namespace": "team-a", "name": "tiny"} | request)}
        code = main(["import-base", "--workspace", str(self._folder)], self._environ | environ)
        told = json.loads((self._folder / "log").read_text())
        assert code == 0, told
        return str(told["digest"])


@pytest.fixture
def importer(config: RegistryConfig, store: ObjectStore, tmp_path: Path) -> Importer:
    (tmp_path / "import").mkdir()
    return Importer(config, store, tmp_path / "import")


def drift(importer: Importer, digest: str, previous: str) -> BaseDrift:
    found = importer.registry.drift(digest, previous)
    assert found is not None
    return found


def test_weights_that_grew_by_a_fifth_are_near_though_they_are_stored_otherwise(
    importer: Importer, tmp_path: Path
) -> None:
    old = importer.from_bucket(write_weights(tmp_path / "old", scale=1.0, shards=3))
    new = importer.from_bucket(write_weights(tmp_path / "new", scale=1.2, shards=2, dtype="BF16"), old)
    found = drift(importer, new, old)
    assert found.verdict == "Near"
    assert found.relative_change == pytest.approx(0.2, rel=0.02)


def test_independent_weights_of_the_same_shapes_are_different(importer: Importer, tmp_path: Path) -> None:
    old = importer.from_bucket(write_weights(tmp_path / "old", scale=1.0))
    new = importer.from_bucket(write_weights(tmp_path / "new", scale=1.0, seed=1), old)
    found = drift(importer, new, old)
    assert found.verdict == "Different"
    assert found.relative_change == pytest.approx(2**0.5, rel=0.2)


def test_another_tokenizer_over_the_same_weights_is_told_from_a_change_of_weights(
    importer: Importer, tmp_path: Path
) -> None:
    old = importer.from_bucket(write_weights(tmp_path / "old", scale=1.0))
    directory = write_weights(tmp_path / "new", scale=1.0)
    (directory / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    new = importer.from_bucket(directory, old)
    assert (drift(importer, new, old).verdict, drift(importer, new, old).relative_change) == ("TokenizerOnly", 0.0)


def test_other_shapes_are_different_and_nothing_is_compared(importer: Importer, tmp_path: Path) -> None:
    old = importer.from_bucket(write_weights(tmp_path / "old", scale=1.0))
    new = importer.from_bucket(write_model(tmp_path / "new", tensors=model_tensors(3), num_hidden_layers=3), old)
    assert (drift(importer, new, old).verdict, drift(importer, new, old).relative_change) == ("Different", None)


def test_a_base_in_the_same_claim_is_compared_in_place(importer: Importer, tmp_path: Path) -> None:
    old_directory = write_weights(tmp_path / "old", scale=1.0)
    old = importer.from_claim(old_directory)
    new = importer.from_claim(write_weights(tmp_path / "new", scale=1.2), old, previousPath=str(old_directory))
    assert drift(importer, new, old).relative_change == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("loss", ["a file is gone", "the base is gone", "a claim is not mounted"])
def test_a_base_whose_predecessor_is_lost_is_imported_without_a_drift(
    importer: Importer, store: ObjectStore, tmp_path: Path, loss: str
) -> None:
    directory = write_weights(tmp_path / "old", scale=1.0)
    old = importer.from_claim(directory) if "claim" in loss else importer.from_bucket(directory)
    if loss == "a file is gone":
        [weights] = [file for file in importer.registry.read(old).files if file.path.endswith(".safetensors")]
        store.delete(BaseLayout("team-a", "tiny").blob(weights.sha256))
    elif loss == "the base is gone":
        store.delete(BaseLayout("team-a", "tiny").manifest(old))
    new = importer.from_bucket(write_weights(tmp_path / "new", scale=1.2), old)
    assert importer.registry.read(new).digest == new
    assert importer.registry.drift(new, old) is None
