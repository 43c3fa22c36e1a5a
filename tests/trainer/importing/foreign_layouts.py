"""The matrix of what other libraries leave behind: what each form is, and what becomes of it when it is imported."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from peft import (
    AdaLoraConfig,
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    VeraConfig,
)
from safetensors.torch import load_file, save_file
from tests.trainer.importing.foreign_adapters import ATTENTION, LINEAR, OLD_FIELDS, WEIGHTS, Maker, another_base

Result = Literal["beside others", "merged", "refused"]

UNSLOTH_TARGETS: Final = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|k_proj|v_proj|o_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp)\.(?:(?:q_proj|k_proj|v_proj|o_proj)))"
)
TRAINER_FILES: Final = (
    *("README.md", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("checkpoint-10/optimizer.pt", "checkpoint-10/global_step10/mp_rank_00_model_states.pt", "runs/events.out"),
)


@dataclass(frozen=True)
class Layout:
    """One form. ``says``: a part of what a refusal says; ``exact``: whether the import may not even round."""

    written_by: str
    what: str
    make: Callable[[Maker], Any]
    result: Result = "beside others"
    says: str = ""
    reason: str = "SourceInvalid"
    exact: bool = True


def _lora(written_by: str, what: str, **settings: Any) -> Layout:
    return Layout(written_by, what, lambda maker: maker.lora(**settings))


def _renamed(written_by: str, what: str, pattern: str, replacement: str) -> Layout:
    return Layout(written_by, what, lambda maker: maker.lora().renamed(pattern, replacement))


def _refused(
    written_by: str, what: str, make: Callable[[Maker], Any], says: str, reason: str = "SourceInvalid"
) -> Layout:
    return Layout(written_by, what, make, "refused", says, reason)


def _field(what: str, says: str, **changes: Any) -> Layout:
    return _refused("PEFT", what, lambda maker: maker.lora().fields(**changes), says)


ROOT: Final = r"^base_model\.model\."

READ: Final[tuple[Layout, ...]] = (
    _lora("PEFT", "LoRA as it is saved today"),
    Layout(
        "PEFT 0.3",
        "a configuration without the fields of later releases",
        lambda maker: maker.lora().only_fields(OLD_FIELDS),
    ),
    _lora("PEFT", "`use_rslora`", use_rslora=True, lora_alpha=6),
    _lora("PEFT", "`target_modules: all-linear`", target_modules="all-linear"),
    _lora("PEFT", "`target_modules` as an expression", target_modules=r".*\.(q|v)_proj"),
    Layout(
        "scripts",
        "`target_modules` as the text of a set",
        lambda maker: maker.lora().fields(target_modules="{'q_proj', 'k_proj'}"),
    ),
    _lora("PEFT", "`layers_to_transform: [1]`", layers_to_transform=[1], layers_pattern="layers"),
    _lora("PEFT", "`exclude_modules`", target_modules=LINEAR, exclude_modules=["down_proj"]),
    Layout(
        "PEFT",
        "`rank_pattern` and `alpha_pattern` with a scale for each module",
        lambda maker: maker.lora(
            rank_pattern={"q_proj": 2, r"^model\.layers\.1\..*v_proj": 6}, alpha_pattern={"k_proj": 24}
        ),
        exact=False,
    ),
    Layout(
        "PEFT",
        "the embedding adapted (`target_modules: [embed_tokens, …]`)",
        lambda maker: maker.peft(_config(target_modules=[*ATTENTION, "embed_tokens"]), noise=0.5),
    ),
    _lora("PEFT", "`init_lora_weights: gaussian`", init_lora_weights="gaussian"),
    _lora("PEFT", "`bias: all` on a base without biases", bias="all"),
    Layout("PEFT", "float16", lambda maker: maker.peft(_config(), dtype=torch.float16)),
    Layout("PEFT, QLoRA", "bfloat16", lambda maker: maker.peft(_config(), dtype=torch.bfloat16)),
    Layout("PEFT", "the weights in several files with an index", lambda maker: maker.lora().sharded()),
    Layout(
        "PEFT",
        "embeddings saved along that are the base's (`save_embedding_layers=True`)",
        lambda maker: maker.peft(_config(), save_embedding_layers=True),
    ),
    Layout(
        "PEFT",
        "fields of a newer release that are off",
        lambda maker: maker.lora().fields(use_novelty=False, novelty=None),
    ),
    Layout(
        "TRL",
        "beside checkpoints, optimizer, tokenizer and a model card",
        lambda maker: maker.lora().beside(*TRAINER_FILES),
    ),
    Layout(
        "TRL",
        "DPO: the folder of the reference beside it",
        lambda maker: maker.lora().beside("ref/adapter_model.safetensors", "ref/adapter_config.json"),
    ),
    Layout(
        "Axolotl",
        "all linear layers by name, beside the base's `config.json`",
        lambda maker: maker.lora(target_modules=LINEAR, lora_dropout=0.05).beside(
            "config.json", "debug.log", "merged/model.safetensors"
        ),
    ),
    Layout(
        "LLaMA-Factory",
        "beside its logs and curves, an alpha that is no whole number",
        lambda maker: maker.lora(target_modules=LINEAR, lora_alpha=6.5).beside(
            "all_results.json", "trainer_log.jsonl", "training_loss.png"
        ),
    ),
    Layout(
        "LLaMA-Factory",
        "PiSSA, converted (`path_initial_model_for_weight_conversion`)",
        lambda maker: _converted_pissa(maker),
        exact=False,
    ),
    Layout(
        "Unsloth",
        "an expression for several architectures, `auto_mapping`, a base quantized to 4 bits",
        lambda maker: maker.lora().fields(
            target_modules=UNSLOTH_TARGETS,
            task_type=None,
            auto_mapping={"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama"},
            base_model_name_or_path="unsloth/toy-bnb-4bit",
            unsloth_fixed=True,
        ),
    ),
    _renamed(
        "Unsloth",
        "trained on the language model of a larger one (`language_model.model.layers`)",
        ROOT + "model",
        "base_model.model.language_model.model",
    ),
    _renamed(
        "Transformers 5",
        "the same as it is called there (`model.language_model.layers`)",
        ROOT + r"model\.",
        "base_model.model.model.language_model.",
    ),
    _renamed("scripts", "names without PEFT's own prefix", ROOT, ""),
    _renamed("Axolotl, PEFT in PEFT", "the prefix twice", "^", "base_model.model."),
    _renamed("`state_dict()`", "the adapter's name within (`lora_A.default.weight`)", r"(lora_[AB])", r"\1.default"),
    _renamed("torch.compile", "`_orig_mod.`", ROOT, "base_model.model._orig_mod."),
    _renamed("DistributedDataParallel", "`module.`", "^", "module."),
    _renamed(
        "FSDP",
        "`_fsdp_wrapped_module.` and `_checkpoint_wrapped_module.`",
        r"layers\.(\d)\.",
        r"layers.\1._fsdp_wrapped_module._checkpoint_wrapped_module.",
    ),
    _renamed("Lightning", "`model.` before PEFT's own prefix", "^", "model."),
    _renamed("TRL, a state dict", "`pretrained_model.`, of a model with a value head", "^", "pretrained_model."),
    _renamed("DeepSpeed, Accelerate", "`_forward_module.`", "^", "_forward_module."),
    Layout(
        "torch.compile",
        "`auto_mapping` with `OptimizedModule`",
        lambda maker: maker.lora().fields(
            task_type=None,
            auto_mapping={"base_model_class": "OptimizedModule", "parent_library": "torch._dynamo.eval_frame"},
        ),
    ),
    Layout(
        "ms-swift",
        "with its own fields (`swift_type`, `lorap_lr_ratio`, …)",
        lambda maker: maker.lora().fields(
            swift_type="LORA", lora_dtype=None, lorap_emb_lr=1e-6, lorap_lr_ratio=16.0, model_key_mapping=None
        ),
    ),
    Layout(
        "scripts",
        '`use_rslora: "false"`, `peft_type: PeftType.LORA`',
        lambda maker: maker.lora().fields(
            use_rslora="false", peft_type="PeftType.LORA", task_type="TaskType.CAUSAL_LM", lora_bias="None"
        ),
    ),
    Layout("PEFT", "`use_dora`", lambda maker: maker.lora(use_dora=True), "merged"),
    Layout(
        "PEFT, a state dict",
        "`use_dora` with `lora_magnitude_vector.weight`",
        lambda maker: maker.lora(use_dora=True).renamed(r"(lora_magnitude_vector)$", r"\1.default.weight"),
        "merged",
    ),
    Layout("PEFT", "IA3", lambda maker: maker.peft(_ia3(), noise=0.8), "merged"),
    Layout(
        "LongLoRA",
        "norms trained as a whole (`modules_to_save`)",
        lambda maker: maker.lora(modules_to_save=["input_layernorm", "norm"]),
        "merged",
    ),
    Layout(
        "scripts",
        "a norm trained as a whole by one percent",
        lambda maker: _trained_a_little(maker, "norm", "model.norm", "model.norm", lambda own: own * 1.01),
        "merged",
    ),
    Layout(
        "scripts",
        "a head of which one token's row was trained",
        lambda maker: _trained_a_little(maker, "lm_head", "lm_head", "model.embed_tokens", _one_row_trained),
        "merged",
    ),
)


def _config(**settings: Any) -> LoraConfig:
    return LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": ATTENTION} | settings)


def _ia3() -> IA3Config:
    return IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    )


def _pissa(maker: Maker) -> Maker:
    return maker.lora(init_lora_weights="pissa")


def _converted_pissa(maker: Maker) -> None:
    """Train from PiSSA's beginning, and save the difference to it as PEFT's documentation says."""
    from peft import get_peft_model
    from tests.trainer.importing.foreign_adapters import logits_of
    from transformers import AutoModelForCausalLM

    beginning = maker.folder.parent / f"{maker.folder.name}-beginning"
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(maker.base), _config(init_lora_weights="pissa"))
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(str(beginning))
    model.peft_config["default"].init_lora_weights = "pissa"
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    maker.logits = logits_of(model)
    with warnings.catch_warnings():
        # PEFT's, of another adapter on a base without its principal parts: only its weights are read.
        warnings.simplefilter("ignore")
        model.save_pretrained(str(maker.folder), path_initial_model_for_weight_conversion=str(beginning))


def _one_row_trained(own: torch.Tensor) -> torch.Tensor:
    trained = own.clone()
    trained[20] *= 1.18
    return trained


def _trained_a_little(
    maker: Maker, module: str, path: str, stored: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Train a parameter by less, as a whole, than its rounding could come to."""
    from tests.trainer.importing.foreign_adapters import logits_of
    from transformers import AutoModelForCausalLM

    maker.lora(modules_to_save=[module])
    own = load_file(maker.base / "model.safetensors")[f"{stored}.weight"]
    maker.weights(lambda tensors: tensors | {f"base_model.model.{path}.weight": change(own)})
    maker.logits = logits_of(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(maker.base), maker.folder))


def _set(maker: Maker, ending: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Maker:
    return maker.weights(
        lambda tensors: {name: change(tensor) if name.endswith(ending) else tensor for name, tensor in tensors.items()}
    )


def _resized(maker: Maker) -> None:
    """Add tokens, and train them."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(maker.base)
    model.resize_token_embeddings(model.config.vocab_size + 3, mean_resizing=False)
    maker.peft(_config(modules_to_save=["embed_tokens"]), model=model)


def _classifier(maker: Maker) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(maker.base, num_labels=2)
    maker.peft(LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"]), model=model)


def _without(maker: Maker, part: str) -> Maker:
    return maker.weights(lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name})


def _in_two_files(maker: Maker) -> None:
    """Leave a part of another checkpoint beside the first."""
    maker.lora().sharded()
    first, second = (maker.folder / f"adapter_model-0000{part}-of-00002.safetensors" for part in (1, 2))
    save_file(load_file(second) | {name: -7 * tensor for name, tensor in load_file(first).items()}, second)


def _pointer(maker: Maker) -> None:
    maker.lora()
    (maker.folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def _pickled(maker: Maker) -> None:
    maker.lora().without(WEIGHTS).beside("adapter_model.bin")


REFUSED: Final[tuple[Layout, ...]] = (
    _refused("PEFT before 0.6", "only `adapter_model.bin`", _pickled, "is a pickle, .* torch.load.*save_file"),
    _refused(
        "TRL",
        "only folders of checkpoints",
        lambda maker: maker.lora().moved_into("checkpoint-9", "checkpoint-10"),
        "such as checkpoint-10",
    ),
    _refused("nobody", "an empty folder", lambda maker: maker.folder.mkdir(), "no files below", "SourceNotFound"),
    _refused(
        "PEFT",
        "no `adapter_config.json`",
        lambda maker: maker.lora().without("adapter_config.json"),
        "belongs beside the weights",
    ),
    _refused("Git without LFS", "a pointer in place of the weights", _pointer, "git lfs pull"),
    _refused(
        "Transformers",
        "a whole model",
        lambda maker: maker.beside("config.json", "model-00001-of-00002.safetensors"),
        "make a BaseModel of it",
    ),
    _refused(
        "mlx-lm",
        "`adapters.safetensors`",
        lambda maker: maker.beside("adapters.safetensors", "adapter_config.json"),
        "mlx-lm",
    ),
    _refused(
        "Diffusers",
        "`pytorch_lora_weights.safetensors`",
        lambda maker: maker.beside("pytorch_lora_weights.safetensors"),
        "Diffusers",
    ),
    _refused(
        "PEFT",
        "one of two files of weights is missing",
        lambda maker: maker.lora().sharded().without("adapter_model-00002-of-00002.safetensors"),
        "1 of the 2 parts",
    ),
    _refused("scripts", "the same tensors in two files", _in_two_files, "is in two of the files"),
    _refused(
        "PEFT",
        "prompt tuning",
        lambda maker: maker.peft(PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)),
        "PROMPT_TUNING.*before the first token",
    ),
    _refused(
        "PEFT",
        "prefix tuning",
        lambda maker: maker.peft(PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)),
        "PREFIX_TUNING.*before the first token",
    ),
    _refused(
        "PEFT",
        "AdaLoRA",
        lambda maker: maker.peft(AdaLoraConfig(task_type="CAUSAL_LM", target_modules=ATTENTION, total_step=10)),
        "ADALORA.*merge it where it was trained",
    ),
    _refused(
        "PEFT, LyCORIS",
        "LoHa",
        lambda maker: maker.peft(LoHaConfig(task_type="CAUSAL_LM", target_modules=ATTENTION)),
        "LOHA",
    ),
    _refused(
        "PEFT, LyCORIS",
        "LoKr",
        lambda maker: maker.peft(LoKrConfig(task_type="CAUSAL_LM", target_modules=ATTENTION)),
        "LOKR",
    ),
    _refused(
        "PEFT",
        "VeRA",
        lambda maker: maker.peft(VeraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj"])),
        "VERA",
    ),
    _refused("PEFT", "a classifier (`task_type: SEQ_CLS`)", _classifier, "task_type is SEQ_CLS"),
    _refused("PEFT", "PiSSA, not converted", _pissa, "path_initial_model_for_weight_conversion"),
    _field("OLoRA, not converted", "init_lora_weights is olora", init_lora_weights="olora"),
    _field("LoftQ", "init_lora_weights is loftq", init_lora_weights="loftq", loftq_config={"loftq_bits": 4}),
    _field("CorDA, not converted", "init_lora_weights is corda", init_lora_weights="corda"),
    _field("`layer_replication`", "layer_replication is set", layer_replication=[[0, 2], [1, 2]]),
    _field("`target_parameters`", "target_parameters is set", target_parameters=["mlp.experts.gate_up_proj"]),
    _refused(
        "PEFT",
        "`trainable_token_indices`",
        lambda maker: maker.lora(trainable_token_indices=[1, 2]),
        "single tokens of the embedding",
    ),
    _field("aLoRA", "alora_invocation_tokens is set", alora_invocation_tokens=[5]),
    _refused("PEFT", "`lora_bias`", lambda maker: maker.lora(lora_bias=True), "lora_bias is set"),
    _field("a field of a newer release that is on", "use_novelty is set, which this release", use_novelty=True),
    _refused(
        "scripts",
        "biases that were trained (`bias: lora_only`)",
        lambda maker: maker.lora(bias="lora_only").weights(
            lambda tensors: tensors | {"base_model.model.model.layers.0.self_attn.q_proj.bias": torch.ones(64)}
        ),
        "a bias that was trained",
    ),
    _refused(
        "scripts",
        "float8",
        lambda maker: _set(maker.lora(), "lora_A.weight", lambda tensor: tensor.to(torch.float8_e4m3fn)),
        "F8_E4M3, which no engine",
    ),
    _refused(
        "PEFT",
        "a training that has diverged (NaN)",
        lambda maker: _set(maker.lora(), "layers.1.self_attn.v_proj.lora_B.weight", lambda tensor: tensor * torch.nan),
        "layers.1.self_attn.v_proj.lora_B.weight holds what is no number",
    ),
    _refused(
        "PEFT",
        "an adapter before its first step",
        lambda maker: _set(maker.lora(), "lora_B.weight", torch.zeros_like),
        "NoEffect: every matrix lora_B is zero",
    ),
    _refused(
        "PEFT",
        "several adapters in one file",
        lambda maker: maker.lora().renamed(r"layers\.(\d)\.(.*lora_[AB])", r"layers.\1.\2.name\1"),
        "of several adapters",
    ),
    _refused(
        "PEFT",
        "a configuration of another rank",
        lambda maker: maker.lora().fields(r=16),
        "has rank 4, but adapter_config.json says 16",
    ),
    _refused(
        "PEFT",
        "half of a pair is missing",
        lambda maker: maker.lora().weights(
            lambda tensors: {
                name: tensor
                for name, tensor in tensors.items()
                if not name.endswith("layers.0.self_attn.q_proj.lora_B.weight")
            }
        ),
        "has no lora_B",
    ),
    _refused(
        "PEFT",
        "`use_dora` without one magnitude",
        lambda maker: _without(maker.lora(use_dora=True), "layers.1.self_attn.q_proj.lora_magnitude_vector"),
        "q_proj has no lora_magnitude_vector",
    ),
    _refused(
        "torchtune",
        "DoRA of which the configuration says nothing",
        lambda maker: maker.lora(use_dora=True).fields(use_dora=...),
        "use_dora is not set in adapter_config.json",
    ),
    _refused(
        "scripts",
        "IA3 with a configuration of LoRA",
        lambda maker: maker.peft(_ia3()).fields(peft_type="LORA"),
        "is a tensor of IA3, but adapter_config.json says peft_type LORA",
    ),
    _refused(
        "scripts",
        "LoRA with a configuration of IA3",
        lambda maker: maker.lora().fields(peft_type="IA3", feedforward_modules=[]),
        "is a tensor of LoRA, but adapter_config.json says peft_type IA3",
    ),
    _refused(
        "PEFT",
        "`modules_to_save` without their weights",
        lambda maker: maker.lora().fields(modules_to_save=["lm_head"]),
        "of which there are no weights",
    ),
    _refused("Axolotl, TRL", "tokens added in training", _resized, "vocabulary was resized", "BaseMismatch"),
    _refused(
        "PEFT",
        "of a base of another size",
        lambda maker: maker.peft(_config(), model=another_base(maker.base, hidden_size=32)),
        "lora_A.weight is .4, 32., base toy needs .4, 64.",
        "BaseMismatch",
    ),
    _refused(
        "PEFT",
        "of a base with fewer layers",
        lambda maker: maker.peft(_config(), model=another_base(maker.base, num_hidden_layers=1)),
        "no tensors for model.layers.1.self_attn",
        "BaseMismatch",
    ),
    _refused(
        "Unsloth",
        "of a base with fewer layers, with an expression",
        lambda maker: maker.peft(_config(), model=another_base(maker.base, num_hidden_layers=1)).fields(
            target_modules=UNSLOTH_TARGETS
        ),
        "no tensors for model.layers.1.self_attn",
        "BaseMismatch",
    ),
    _refused(
        "LLaMA-Factory",
        "one layer missing in the last block, with an expression that looks ahead",
        lambda maker: _without(maker.lora(), "layers.1.self_attn.v_proj").fields(
            target_modules=r"^(?!.*visual).*(?:q_proj|k_proj|v_proj|o_proj).*"
        ),
        "no tensors for model.layers.1.self_attn.v_proj",
        "BaseMismatch",
    ),
    _refused(
        "PEFT",
        "of a base with fewer layers, with `exclude_modules` as an expression",
        lambda maker: _without(maker.lora(), "layers.1.").fields(exclude_modules=".*visual.*"),
        "no tensors for model.layers.1.self_attn",
        "BaseMismatch",
    ),
    _refused(
        "Transformers 5",
        "of a base with fewer layers, with whole paths under another root",
        lambda maker: _without(maker.lora(), "layers.1.").fields(
            target_modules=[f"model.language_model.layers.{block}.self_attn.q_proj" for block in (0, 1)]
        ),
        "no tensors for model.layers.1.self_attn.q_proj",
        "BaseMismatch",
    ),
    _refused(
        "PEFT",
        "of a base with more layers",
        lambda maker: maker.peft(_config(), model=another_base(maker.base, num_hidden_layers=3)),
        "model.layers.2.self_attn.* base toy doesn't have",
        "BaseMismatch",
    ),
    _refused(
        "Unsloth",
        "layers for pictures adapted",
        lambda maker: maker.lora().renamed(r"model\.layers\.0", "model.visual.blocks.0"),
        "model.visual.blocks.0.self_attn.*pictures",
        "BaseMismatch",
    ),
)
LAYOUTS: Final = {f"{layout.written_by}: {layout.what}": layout for layout in (*READ, *REFUSED)}
