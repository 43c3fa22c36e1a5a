"""Which files of a folder are an adapter: what is told of folders that hold none, or hold it elsewhere."""

from __future__ import annotations

import pytest

from graft_registry.sources.adapter_files import conversion_of, files_of_adapter
from graft_registry.sources.source_files import SourceError, SourceProblem

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SHARDS = ["adapter_model-00001-of-00002.safetensors", "adapter_model-00002-of-00002.safetensors"]

FOUND: dict[str, tuple[list[str], list[str]]] = {
    "PEFT's": ([CONFIG, WEIGHTS, "README.md"], [WEIGHTS]),
    "in parts": ([*reversed(SHARDS), CONFIG, f"{WEIGHTS}.index.json"], SHARDS),
    "whole and in parts: PEFT reads the whole": ([CONFIG, WEIGHTS, *SHARDS], [WEIGHTS]),
    "a pickle beside it": ([CONFIG, "adapter_model.bin", WEIGHTS, "training_args.bin"], [WEIGHTS]),
    "checkpoints beside it": (["checkpoint-5/adapter_config.json", CONFIG, WEIGHTS], [WEIGHTS]),
    "another adapter's folder beside it": (["ref/adapter_config.json", CONFIG, WEIGHTS], [WEIGHTS]),
}

REFUSED: dict[str, tuple[list[str], SourceProblem, str]] = {
    "nothing": ([], SourceProblem.NOT_FOUND, "no files below"),
    "a pickle": ([CONFIG, "adapter_model.bin"], SourceProblem.INVALID, "adapter_model.bin is a pickle"),
    "another pickle": ([CONFIG, "adapter_model.pt"], SourceProblem.INVALID, "adapter_model.pt is a pickle"),
    "alpaca-lora's pickle": ([CONFIG, "pytorch_model.bin"], SourceProblem.INVALID, "pytorch_model.bin is a pickle"),
    "checkpoints alone": (
        ["checkpoint-90/adapter_config.json", "checkpoint-100/adapter_config.json", "trainer_state.json"],
        SourceProblem.INVALID,
        r"\(checkpoint-90, checkpoint-100\): name one of them, such as checkpoint-100",
    ),
    "folders of runs": (["a/b/adapter_config.json"], SourceProblem.INVALID, "such as a/b"),
    "no configuration": ([WEIGHTS], SourceProblem.INVALID, "belongs beside the weights"),
    "a part is missing": ([CONFIG, SHARDS[1]], SourceProblem.INVALID, "1 of the 2 parts.*00001-of-00002"),
    "parts of two savings": (
        [CONFIG, *SHARDS, "adapter_model-00001-of-00003.safetensors"],
        SourceProblem.INVALID,
        "3 of the 3 parts",
    ),
    "a whole model": (["config.json", "model.safetensors"], SourceProblem.INVALID, "make a BaseModel"),
    "llama.cpp's": (["adapter.gguf"], SourceProblem.INVALID, "llama.cpp"),
    "mlx-lm's": ([CONFIG, "adapters.safetensors"], SourceProblem.INVALID, "mlx-lm"),
    "Diffusers'": (["pytorch_lora_weights.safetensors"], SourceProblem.INVALID, "Diffusers"),
    "something else": (["notes.txt"], SourceProblem.INVALID, "found notes.txt; name the folder"),
}


@pytest.mark.parametrize(("names", "weights"), FOUND.values(), ids=FOUND)
def test_the_files_of_an_adapter(names: list[str], weights: list[str]) -> None:
    assert files_of_adapter(names, where="s3://b/a", field="f") == (CONFIG, *weights)


@pytest.mark.parametrize(("names", "problem", "message"), REFUSED.values(), ids=REFUSED)
def test_a_folder_without_one_says_what_to_do(names: list[str], problem: SourceProblem, message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        files_of_adapter(names, where="s3://b/a", field="f")
    assert (raised.value.reason, raised.value.field) == (problem, "f")


def test_the_conversion_of_a_pickle_is_a_program() -> None:
    program = conversion_of("adapter_model.bin").removeprefix('python -c "').removesuffix('"')
    compile(program, "conversion", "exec")
