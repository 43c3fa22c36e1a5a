"""The whole loop for each kind of base that an engine on a CPU serves: train, publish, load, prove, answer otherwise.

One real training of a tiny base, the real agent, and the real engine for each: ``make test-families``
(``FAMILY=llama`` for one). ``GRAFT_FAMILIES_TABLE=docs/bases.md`` writes what was found into its table.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from demo.environment import Environment
from tests.engine.engine import Engine
from tests.families import bases
from tests.families.agent import brought_up
from tests.families.engine import MODEL, EngineEndedError, engine_of, runs, said_last
from tests.trainer import families
from tests.trainer.bases.families_table import write_whole_loop
from tests.trainer.bases.test_families import FAMILIES
from tests.trainer.conftest import Pod, mounted, run_document
from tests.trainer.toy_task import EVALUATION, TRAINING

from graft_registry.config import RegistryConfig
from graft_registry.documents import BaseManifest, GoldenPrompt
from graft_registry.versions import StoredVersion
from graft_serving.adapters.proof import COMFORTABLE_MARGIN

pytestmark = [
    pytest.mark.families,
    pytest.mark.timeout(900),
    # Of libraries, about what they do with models of each kind.
    pytest.mark.filterwarnings("ignore"),
]

NO_KERNELS_BESIDE_EXPERTS = r"no: .*triton-cpu is expected.*Using TRITON .*triton\.language.*; merged: yes"
NO_KERNEL_BESIDE_LINEAR_ATTENTION = r"no: .*causal_conv1d_fwd_cpu: expect x to be transposed.*; merged: yes"
NO_KERNEL_OF_MAMBA_1 = r"no: .*has no attribute 'selective_scan_fwd'; merged: no: .*'selective_scan_fwd'"
NO_LONGER_KNOWN = r"no: Value error, Model architecture \w+ was supported in vLLM until v[\d.]+, .*"
ENGINE_CANNOT: dict[str, str] = {
    **dict.fromkeys(
        (model_type for model_type, family in FAMILIES.items() if "one stacked tensor" in family.left_out),
        NO_KERNELS_BESIDE_EXPERTS,
    ),
    **dict.fromkeys(("qwen3_5", "qwen3_5_text", "qwen3_5_moe_text"), NO_KERNEL_BESIDE_LINEAR_ATTENTION),
    "jamba": NO_KERNEL_OF_MAMBA_1,
    "mpt": NO_LONGER_KNOWN,
}
"""Model types of which the engine on a CPU says no, with what it says. Should one of these work, the line can go."""


class RefusedError(Exception):
    """The agent has refused the version. The message is its own."""


@pytest.mark.parametrize("model_type", FAMILIES)
def test_what_is_trained_on_it_is_proven_and_answers(
    model_type: str, environment: Environment, s3_endpoint: str, tmp_path: Path
) -> None:
    base = bases.save(model_type, tmp_path / "base")
    merged_only = FAMILIES[model_type].merged_only
    found = whole_loop(model_type, base, tmp_path, environment, s3_endpoint, merged=merged_only)
    if found != "yes" and not merged_only:
        found += f"; merged: {whole_loop(model_type, base, tmp_path, environment, s3_endpoint, merged=True)}"
    if path := os.environ.get("GRAFT_FAMILIES_TABLE"):
        write_whole_loop(Path(path), model_type, found)
    expected = ENGINE_CANNOT.get(model_type)
    assert re.fullmatch(expected, found) if expected else found == "yes", found


def whole_loop(
    model_type: str, base: Path, folder: Path, environment: Environment, endpoint: str, *, merged: bool
) -> str:
    """Train, serve, and ask; return yes, or why the engine can't."""
    mode = "Merged" if merged else "MultiAdapter"
    folder = folder / mode.lower()
    folder.mkdir()
    manifest = families.manifest_of(base, name=MODEL)
    pod = trained(model_type, base, manifest, folder / "pod", endpoint, mode=mode)
    golden = pod.version().manifest.golden
    assert golden, "no answer of the adapter differs from the base's: the test would prove nothing"
    try:
        with served(pod, base, manifest, environment, folder, merged=merged) as (url, models):
            answers = [[completion(environment, url, model, prompt) for model in models] for prompt in golden]
    except (EngineEndedError, RefusedError) as error:
        return f"no: {str(error)[:300]}"
    check_answers(golden, answers)
    return "yes"


def check_answers(golden: Sequence[GoldenPrompt], answers: Sequence[Sequence[str]]) -> None:
    """Hold the answers of the adapter, and of the base where it is asked, to those that the trainer has recorded."""
    for prompt, (adapted, *of_base) in zip(golden, answers, strict=True):
        if prompt.margin is not None and prompt.margin >= COMFORTABLE_MARGIN:
            assert adapted.strip() == prompt.answer.strip()
        assert adapted.strip() not in [answer.strip() for answer in of_base], "the adapter changes nothing"


def trained(model_type: str, base: Path, manifest: BaseManifest, folder: Path, endpoint: str, *, mode: str) -> Pod:
    """Train an adapter with the real trainer, and publish it."""
    name = f"{model_type.replace('_', '-')}-{mode.lower()}"
    run: dict[str, Any] = run_document(name, endpoint=endpoint, base=base, base_digest=manifest.digest)
    folder.mkdir()
    for rows, where in ((TRAINING, run["dataset"]), (EVALUATION, run["dataset"]["evaluation"])):
        path = folder / ("train.jsonl" if rows is TRAINING else "eval.jsonl")
        path.write_text("\n".join(map(json.dumps, rows)))
        where["source"] = mounted(path)
    run["base"]["name"] = manifest.name
    run["lora"]["targetModules"] = ["q_proj", "k_proj", "v_proj", "o_proj"]
    run["training"] |= {"maxSteps": 40, "evalSteps": 40, "learningRate": "1e-2", "gradientAccumulation": 1}
    run["serving"] = {"mode": mode}
    pod = Pod(run, folder)
    assert pod.run() == 0, pod.termination()
    return pod


@contextmanager
def served(
    pod: Pod, base: Path, manifest: BaseManifest, environment: Environment, folder: Path, *, merged: bool
) -> Iterator[tuple[str, list[str]]]:
    """Serve the version; yield where to ask, and under which names: the adapter's, and the base's if it is there."""
    version = pod.version()
    if merged:
        with engine_of(environment, merged_model(pod, version, folder / "version"), folder, adapters=False) as engine:
            check_tokens(engine, version.manifest.golden)
            yield engine.url, [MODEL]
        return
    registry = RegistryConfig.model_validate(pod.config["registry"])
    with engine_of(environment, base, folder.parent) as engine:
        check_tokens(engine, version.manifest.golden)
        bring = brought_up(engine, folder / "agent", manifest, version, registry, engine_runs=lambda: runs(environment))
        with bring as brought:
            if brought.state != "Proven":
                raise RefusedError(f"{brought.message}: {said_last(environment)}")
            yield brought.url, [version.manifest.adapter, manifest.name]


def check_tokens(engine: Engine, golden: Sequence[GoldenPrompt]) -> None:
    """Hold the engine's reading of each prompt to the trainer's: its library may take another tokenizer for a kind."""
    for prompt in golden:
        body = {"model": engine.model, "prompt": prompt.prompt, "add_special_tokens": False}
        answer = engine.post("/tokenize", body)
        assert answer.status == 200, answer.data
        assert answer.json()["tokens"] == list(prompt.prompt_token_ids)


def merged_model(pod: Pod, version: StoredVersion, folder: Path) -> Path:
    """Fetch the model that the version is served as."""
    pod.registry.fetch(version, folder, merged=True)
    return folder / "merged"


def completion(environment: Environment, url: str, model: str, prompt: GoldenPrompt) -> str:
    """Ask for as much as the trainer has recorded.

    Raises:
        EngineEndedError: it has ended of the question.
    """
    body = {
        "model": model,
        "prompt": list(prompt.prompt_token_ids),
        "max_tokens": len(prompt.answer_token_ids),
        "temperature": 0,
    }
    answer = urllib3.request("POST", f"{url}/v1/completions", json=body, timeout=120, retries=False)
    if answer.status == 500:
        raise EngineEndedError(said_last(environment))
    assert answer.status == 200, answer.data
    return str(answer.json()["choices"][0]["text"])
