"""Reads ``adapter_config.json`` as any release of PEFT has written it, and refuses what can't be served. Pure.

The file comes from a stranger: nothing in it is loaded. A field that this release doesn't know is ignored where it is
off, and refused where it isn't: a newer PEFT would do something with it that nobody here would.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from graft_trainer.importing.wording import shown
from graft_trainer.outcome import InvalidSourceError

MERGE_FIRST: Final = (
    "merge it where it was trained (merge_and_unload(), then save_pretrained) and make a BaseModel of the result"
)

_NOT_AN_UPDATE: Final = {
    **dict.fromkeys(
        (
            "PROMPT_TUNING",
            "PREFIX_TUNING",
            "P_TUNING",
            "MULTITASK_PROMPT_TUNING",
            "CPT",
            "ADAPTION_PROMPT",
            "CARTRIDGE",
        ),
        "it comes before the first token, no engine applies it, and it can't be merged; train a LoRA instead",
    ),
    "XLORA": "it chooses among several adapters for each token; import those one by one",
    "POLY": "it chooses among several adapters; import those one by one",
}
"""Kinds of adapters that not even a merge would help."""

_CHANGED_BASE: Final = ("pissa", "olora", "corda", "lora_ga")
"""Ways to begin that take something out of the base's weights: the saved matrices belong to what was left of them."""
_UNCHANGED_BASE: Final = (True, False, None, "gaussian", "orthogonal", "eva")

_REFUSED: Final = {
    "layer_replication": f"it was trained on copies of layers that the base doesn't have; {MERGE_FIRST}",
    "target_parameters": f"it changes parameters that are no linear layers, such as stacked experts; {MERGE_FIRST}",
    "trainable_token_indices": f"it has trained single tokens of the embedding; {MERGE_FIRST}",
    "lora_bias": f"its matrices have biases, which engines don't add; {MERGE_FIRST}",
    "alora_invocation_tokens": "tokens within the prompt switch it on, which no engine does; train a plain LoRA",
    "arrow_config": "it chooses among several adapters for each token; import those one by one",
    "use_qalora": f"it belongs to a base that is quantized in groups; {MERGE_FIRST}",
    "megatron_config": "it was saved by Megatron; convert it to PEFT's layout",
}
"""Options that add what neither an engine nor a merge here does, with what helps."""

_TIED: Final = frozenset({"embed_tokens", "lm_head", "wte"})
_WITHOUT_EFFECT: Final = frozenset(
    {
        "auto_mapping",
        "base_model_class",
        "corda_config",
        "enable_lora",
        "ensure_weight_tying",
        "eva_config",
        "fan_in_fan_out",
        "inference_mode",
        "layers_pattern",
        "loftq_config",
        "lora_dtype",
        "lora_ga_config",
        "lorap_emb_lr",
        "lorap_lr_ratio",
        "megatron_core",
        "merge_weights",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "swift_type",
        "unsloth_fixed",
        "velora_config",
    }
)
"""Fields that say how the adapter was trained, initialised or saved, or that only matter with others."""

_WRAPPERS: Final = frozenset(
    {
        "AutoModelForCausalLMWithValueHead",
        "DeepSpeedEngine",
        "DistributedDataParallel",
        "FullyShardedDataParallel",
        "OptimizedModule",
    }
)
"""Classes around the model that was trained, which say nothing about it: of TRL, DeepSpeed and torch itself."""
_OFF: Final = frozenset({"", "false", "none", "null"})
"""Texts that scripts write for what is not set."""

Names = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value or [])]
Ranks = Annotated[dict[str, Annotated[int, Field(ge=1)]], BeforeValidator(lambda value: value or {})]
Alphas = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]], BeforeValidator(lambda value: value or {})
]


def _flag(value: object) -> object:
    """Read what scripts write for true and false; every other text would count as true."""
    if value is None or _is_off(value):
        return False
    if isinstance(value, str) and value.strip().lower() == "true":
        return True
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    raise ValueError("has to be true or false")


def _member(value: object) -> object:
    """Read the name of an enum's member where its class stands before it, as ``str()`` gives it."""
    return (
        value.rpartition(".")[2] if isinstance(value, str) and value.startswith(("PeftType.", "TaskType.")) else value
    )


Flag = Annotated[bool, BeforeValidator(_flag)]
Member = Annotated[str, BeforeValidator(_member)]


class AdapterSettings(BaseModel):
    """The fields of PEFT's configuration that say what the weights mean; what is missing has PEFT's default."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: Member
    task_type: Member | None = None
    base_model_name_or_path: Annotated[str, Field(max_length=1024)] | None = None
    r: Annotated[int, Field(ge=1)] = 8
    lora_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 8.0
    lora_dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = 0.0
    rank_pattern: Ranks = {}
    alpha_pattern: Alphas = {}
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    modules_to_save: Names = []
    feedforward_modules: Names = []
    bias: str | None = "none"
    use_rslora: Flag = False
    use_dora: Flag = False
    init_lora_weights: Any = True
    init_ia3_weights: Any = True

    @property
    def kind(self) -> Literal["LoRA", "IA3"]:
        """The family of PEFT's."""
        return "IA3" if self.peft_type == "IA3" else "LoRA"

    @property
    def method(self) -> str:
        """The name that Graft has for how it was trained, as far as it matters for serving."""
        if self.kind == "IA3":
            return "IA3"
        return "DoRA" if self.use_dora else "RsLoRA" if self.use_rslora else "LoRA"


def read_settings(text: str) -> AdapterSettings:
    """Read a configuration, and refuse an adapter that could not be served whatever its weights are.

    Raises InvalidSourceError, which names the field and says what helps.
    """
    try:
        config = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"not JSON: {shown(error)}; copy the adapter again") from None
    if not isinstance(config, dict):
        raise _invalid("not a JSON object; name the folder that PEFT has saved")
    _check_text(config)
    if "peft_type" not in config:
        raise _invalid(f"peft_type is missing{_whose(config)}; name the folder that PEFT's save_pretrained has written")
    try:
        settings = AdapterSettings.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _invalid(
            f"{shown('.'.join(map(str, first['loc'])))}: {shown(first['msg'])}; PEFT writes no such value"
        ) from None
    _check_kind(settings)
    _check_task(settings)
    _check_beginning(settings)
    _check_options(settings)
    return settings


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a field that is there twice: parsers don't agree on which of the two counts."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _invalid(f"{shown(name)} is there twice; leave the one that it was trained with")
        found[name] = value
    return found


def _check_text(config: dict[str, Any]) -> None:
    """Refuse strings with half of a surrogate pair, which JSON can spell and no file or message can hold."""
    for name, value in config.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise _invalid(
                f"{shown(name.encode(errors='replace').decode())}: holds {error.object[error.start]!a}, which is no "
                "character; save the adapter again"
            ) from None
        except RecursionError:
            raise _invalid(f"{shown(name)} is nested too deep; PEFT writes no such value") from None


def _whose(config: dict[str, Any]) -> str:
    if "fine_tune_type" in config or "lora_parameters" in config:
        return " (this is mlx-lm's)"
    return " (this is LyCORIS')" if "algo" in config else ""


def _check_kind(settings: AdapterSettings) -> None:
    if settings.peft_type not in ("LORA", "IA3"):
        why = _NOT_AN_UPDATE.get(settings.peft_type, f"only LORA and IA3 are imported; {MERGE_FIRST}")
        raise _invalid(f"peft_type is {shown(settings.peft_type)}: {why}")


def _check_task(settings: AdapterSettings) -> None:
    mapping = (settings.model_extra or {}).get("auto_mapping") or {}
    trained = settings.task_type or (mapping.get("base_model_class") if isinstance(mapping, dict) else None)
    if trained is None or trained == "CAUSAL_LM" or str(trained).endswith(("CausalLM", "ConditionalGeneration")):
        return
    if settings.task_type is None and str(trained) in _WRAPPERS:
        return
    field = "task_type" if settings.task_type else "auto_mapping"
    raise _invalid(
        f"{field} is {shown(trained)}: only adapters that write text (CAUSAL_LM) are served; train it as one"
    )


def _check_beginning(settings: AdapterSettings) -> None:
    beginning = settings.init_lora_weights
    if isinstance(beginning, str) and beginning.lower() in ("true", "false"):
        return
    if beginning in _UNCHANGED_BASE:
        return
    if beginning == "loftq":
        raise _invalid(
            "init_lora_weights is loftq, so these matrices also make up for a base that was rounded to few bits; "
            f"{MERGE_FIRST}"
        )
    if str(beginning).startswith(_CHANGED_BASE):
        raise _invalid(
            f"init_lora_weights is {shown(beginning)}, which has taken a part out of the base's weights, so these "
            "matrices belong to what was left of them; save it as plain LoRA with "
            "save_pretrained(…, path_initial_model_for_weight_conversion=<the adapter before training>) "
            f"(LLaMA-Factory: the folder pissa_converted), or {MERGE_FIRST}"
        )
    raise _invalid(f"init_lora_weights is {shown(beginning)}, which this release doesn't know; {MERGE_FIRST}")


def _check_options(settings: AdapterSettings) -> None:
    options = {name: value for name, value in (settings.model_extra or {}).items() if value not in (None, False, 0)}
    options = {name: value for name, value in options.items() if value not in ([], {}) and not _is_off(value)}
    trained = {*settings.modules_to_save, *(settings.target_modules or ())}
    if options.get("ensure_weight_tying") and not _TIED.isdisjoint(trained):
        raise _invalid(
            f"ensure_weight_tying is set, and what was trained of the embedding is the head's, too; {MERGE_FIRST}"
        )
    for name in sorted(options):
        if name in _REFUSED:
            raise _invalid(f"{name} is set: {_REFUSED[name]}")
        if name not in _WITHOUT_EFFECT:
            raise _invalid(
                f"{shown(name)} is set, which this release doesn't know; save it without, use a newer trainer image, "
                f"or {MERGE_FIRST}"
            )


def _is_off(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in _OFF


def _invalid(what: str) -> InvalidSourceError:
    return InvalidSourceError(f"adapter_config.json: {what}")
