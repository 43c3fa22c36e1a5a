"""What ``adapter_config.json`` says about serving. The file comes from outside: nothing in it is evaluated."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

_SERVABLE_INITIALISATIONS: Final = (True, False, None, "gaussian", "orthogonal", "eva")
"""The others (PiSSA, OLoRA, CorDA, LoftQ, …) change the base's weights, which the engine doesn't know of. An adapter
that PEFT has converted to plain LoRA on saving says ``true`` here."""

_CHANGES_THE_FORWARD_PASS: Final = (
    "use_dora",
    "lora_bias",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "use_qalora",
    "use_bdlora",
)
"""Options of PEFT's LoraConfig that add parameters or computation beyond ``W + scale * B A``. Each must be unset."""


class LoraSettings(BaseModel):
    """The fields of PEFT's LoraConfig that decide about serving; unset options have PEFT's defaults."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: str
    r: Annotated[int, Field(ge=1)] = 8
    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] = {}
    target_modules: tuple[str, ...] | str | None = None
    exclude_modules: tuple[str, ...] | str | None = None
    layers_to_transform: tuple[int, ...] | int | None = None
    modules_to_save: tuple[str, ...] | str | None = None
    bias: str = "none"
    init_lora_weights: bool | str | None = True
    auto_mapping: Any = None

    def obstacle_to_serving(self) -> str | None:
        """Return which setting a multi-adapter engine can't apply, None if it can apply all."""
        if self.peft_type != "LORA":
            return f"peft_type is {self.peft_type}"
        if self.bias != "none":
            return f"bias is {self.bias}"
        if self.init_lora_weights not in _SERVABLE_INITIALISATIONS:
            return f"init_lora_weights is {self.init_lora_weights}, which changes the base's own weights"
        if self.auto_mapping is not None:
            return "auto_mapping names a class to load; set task_type instead"
        if self.modules_to_save:
            return "modules_to_save is set"
        options = self.model_extra or {}
        option = next((name for name in _CHANGES_THE_FORWARD_PASS if options.get(name)), None)
        return f"{option} is set" if option else None
