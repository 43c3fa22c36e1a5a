"""Versions that are published without training: random weights, and golden answers that are really theirs.

What is tested is the way of a version to the replicas, again and again; training each would take hours and prove
nothing more. Everything else is real: the files, the registry's commit, the trainer's own way to record golden prompts.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from demo.load import MAX_TOKENS
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tests.e2e.tenant import BASE, Tenant
from transformers import AutoModelForCausalLM

from graft_registry.adapters.publishable import ADAPTER_WEIGHTS
from graft_registry.config import Credentials, RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.documents import (
    AdapterShape,
    BaseManifest,
    BaseReference,
    DatasetRecord,
    GoldenPrompt,
    VersionDraft,
)
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry
from graft_trainer.data.conversation import Conversation, Message
from graft_trainer.data.rendering import prompt_token_ids
from graft_trainer.judging.evaluation import Answer, Question, compare
from graft_trainer.judging.golden import golden_prompts
from graft_trainer.model import load_tokenizer

RANK = 8
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")
SAFE_MARGIN = 0.3
"""Nats between best and second-best token: far more than the rounding of another kernel."""


@dataclass(frozen=True, slots=True)
class Published:
    """A version in the registry, and its answers to the questions that it answers beyond doubt."""

    adapter: str
    number: int
    answers: dict[str, str]
    """Question → how the greedy answer begins: the tokens that are chosen beyond doubt, where there are any."""


@dataclass(slots=True)
class Publisher:
    """Publishes versions for one tenant's base."""

    tenant: Tenant
    models: Path
    base_digest: str
    registry: RegistryConfig
    base_folder: str = "base-v1"
    """Of ``models``: what the weights are made for."""
    _base: Any = None
    _manifest: BaseManifest | None = field(default=None)

    @classmethod
    def of(cls, tenant: Tenant, models: Path, base_digest: str) -> Publisher:
        """Return the publisher for a tenant whose base is resolved."""
        storage = tenant.environment.storage
        registry = RegistryConfig(endpoint=storage.endpoint, bucket=storage.bucket, region=storage.region)
        return cls(tenant, models, base_digest, registry)

    def publish(
        self,
        adapter: str,
        seed: int,
        questions: Sequence[str],
        *,
        scale: float = 0.1,
        keep_in: Path | None = None,
        labelled_as: str | None = None,
    ) -> Published:
        """Publish the next version of ``adapter``, with weights drawn from ``seed``; keep a copy of its files.

        ``labelled_as``: digest of the base that its manifest names in place of the tenant's.
        """
        folder = self.models / self.base_folder
        tokenizer = load_tokenizer(folder)
        asked = [_question(text, tokenizer) for text in questions]
        model = self._model(folder, seed, scale)
        comparison = compare(model, tokenizer, (), asked)
        with TemporaryDirectory() as directory:
            model.save_pretrained(directory)
            Path(directory, "README.md").unlink(missing_ok=True)
            if keep_in is not None:
                # Contents without modes: nobody but their owner may read what safetensors and tempfile make.
                shutil.copytree(directory, keep_in, copy_function=shutil.copyfile)
                keep_in.chmod(0o755)
            draft = self._draft(adapter, seed, golden_prompts(comparison, tokenizer))
            if labelled_as is not None:
                draft = draft.model_copy(update={"base": draft.base.model_copy(update={"digest": labelled_as})})
            stored = AdapterRegistry(self._store(), self.tenant.namespace, adapter).publish(draft, Path(directory))
        self._base = model.unload()
        begins = {
            text: str(tokenizer.decode(sure_tokens(answer), skip_special_tokens=True)).strip()
            for text, answer in zip(questions, comparison.adapter.answers, strict=True)
        }
        return Published(adapter, stored.manifest.number, {text: begin for text, begin in begins.items() if begin})

    def publish_judged_as(self, adapter: str, number: int, recipe: str, seed: int) -> int:
        """Publish a version for ``recipe`` with all that was measured of another one, but weights drawn from ``seed``.

        It has no golden prompts: they would give it away before it answers anybody. Returns its number.
        """
        registry = AdapterRegistry(self._store(), self.tenant.namespace, adapter)
        judged = registry.read(number)
        measured = {name: value for name, value in judged.manifest if name in VersionDraft.model_fields}
        draft = VersionDraft.model_validate({**measured, "recipe": recipe, "golden": ()})
        with TemporaryDirectory() as directory:
            folder = Path(directory, "files")
            registry.fetch(judged, folder)
            torch.manual_seed(seed)
            tensors = load_file(folder / ADAPTER_WEIGHTS)
            drawn = {name: torch.randn_like(tensor) / 10 for name, tensor in tensors.items()}
            save_file(drawn, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
            return registry.publish(draft, folder).manifest.number

    def _model(self, folder: Path, seed: int, scale: float) -> PeftModel:
        if self._base is None:
            self._base = AutoModelForCausalLM.from_pretrained(folder)
        torch.manual_seed(seed)
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(MODULES), task_type="CAUSAL_LM")
        model = get_peft_model(self._base, config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(std=scale)
        return model

    def _store(self) -> ObjectStore:
        storage = self.tenant.environment.storage
        return ObjectStore(self.registry, Credentials(storage.access_key, storage.secret_key))

    def _draft(self, adapter: str, seed: int, golden: tuple[GoldenPrompt, ...]) -> VersionDraft:
        base = self._read_base()
        return VersionDraft(
            namespace=self.tenant.namespace,
            adapter=adapter,
            recipe=digest_of([adapter, seed]),
            reason="Imported",
            uid="published-by-hand",
            generation=1,
            base=BaseReference(name=BASE, revision=base.revision, digest=base.digest, source=base.source),
            dataset=DatasetRecord(uri="none:random-weights", digest=digest_of(seed), rows=1),
            method="LoRA",
            trained_on="float32",
            servable="MultiAdapter",
            hyperparameters={},
            seed=seed,
            shape=AdapterShape(
                rank=RANK, alpha=2 * RANK, target_modules=MODULES, trainable_parameters=1, all_parameters=2
            ),
            libraries={},
            golden=golden,
        )

    def _read_base(self) -> BaseManifest:
        if self._manifest is None:
            digest = self.base_digest.partition(":")[2]
            key = f"{self.tenant.namespace}/bases/{BASE}/revisions/{digest}/manifest.json"
            self._manifest = BaseManifest.model_validate(self.tenant.bucket.read_json(key))
        return self._manifest


def sure_tokens(answer: Answer) -> list[int]:
    """Return the tokens with which the answer begins in whatever order a kernel adds its floats up."""
    pairs = zip(answer.token_ids[:MAX_TOKENS], answer.margins, strict=False)
    return [token for token, _ in itertools.takewhile(lambda pair: pair[1] > SAFE_MARGIN, pairs)]


def _question(text: str, tokenizer: Any) -> Question:
    return Question(prompt_token_ids(Conversation((Message("user", text),)), tokenizer), text, "")
