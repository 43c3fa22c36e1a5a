"""The files of an adapter from elsewhere: how much of them is read, and what may not be in two of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterSource
from graft_trainer.config import AdapterSourceConfig
from graft_trainer.importing.source import ForeignAdapter, fetch_foreign_adapter
from graft_trainer.outcome import InvalidSourceError

ONE, TWO = "adapter_model-00001-of-00002.safetensors", "adapter_model-00002-of-00002.safetensors"
A, B = (f"base_model.model.model.layers.0.self_attn.q_proj.lora_{part}.weight" for part in "AB")
MIB = 1 << 20


def weights(name: str, padding: int = 0) -> bytes:
    header = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return (len(header) + padding).to_bytes(8, "little") + header + b" " * padding + b"\0\0\0\0"


def brought(folder: Path, files: dict[str, bytes]) -> ForeignAdapter:
    source = folder / "source"
    source.mkdir()
    for name, data in ({"adapter_config.json": b'{"peft_type": "LORA"}'} | files).items():
        (source / name).write_bytes(data)
    asked = AdapterSource.model_validate({"directory": {"path": str(source), "uri": "persistentVolumeClaim:a/b"}})
    return fetch_foreign_adapter(
        AdapterSourceConfig(source=asked), RegistryConfig(bucket="none"), folder / "brought", {}
    )


def test_headers_are_read_of_all_files(tmp_path: Path) -> None:
    adapter = brought(tmp_path, {ONE: weights(A, 7 * MIB), TWO: weights(B, 8 * MIB)})
    assert [tensor.name for tensor in adapter.tensors] == [A, B]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"adapter_model.safetensors": weights(A, 17 * MIB)},
            "the headers of the weights have 178.*, at most 16",
        ),
        ({ONE: weights(A, 9 * MIB), TWO: weights(B, 9 * MIB)}, "the headers of the weights have 188.* bytes"),
        ({"adapter_model.safetensors": weights("." * 8_000_000)}, "a tensor's name has 8000000 characters"),
        ({ONE: weights(A), TWO: weights(A)}, f"{A} is in two of the files"),
        ({"adapter_model.safetensors": b"\xff" * 100}, "is not a safetensors file"),
        ({"adapter_model.safetensors": b""}, "is not a safetensors file"),
    ],
    ids=["one header", "both headers", "a name of dots", "twice", "no header", "empty"],
)
def test_what_is_too_much_or_in_the_way_is_refused_at_once(
    files: dict[str, bytes], message: str, tmp_path: Path
) -> None:
    begin = time.process_time()
    with pytest.raises(InvalidSourceError, match=message) as refused:
        brought(tmp_path, files)
    assert time.process_time() - begin < 5
    assert len(str(refused.value)) < 600
