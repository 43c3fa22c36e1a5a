"""Attaches a fresh adapter of the run's method to the frozen base.

Initial weights may come from a decomposition of the base's weights (PiSSA) or of activations (EVA). Neither need give
the same numbers on another machine, so a resumed run takes the initial weights from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel, set_seed

from graft_trainer.config import RunConfig
from graft_trainer.data.rows import Row
from graft_trainer.methods import explained_variance, principal_weights, whole_weights
from graft_trainer.methods.peft_configs import peft_config
from graft_trainer.methods.table import METHODS
from graft_trainer.outcome import InvalidConfigError
from graft_trainer.training.checkpoint import RunCheckpoints


def attach_adapter(
    base: PreTrainedModel,
    config: RunConfig,
    targets: Sequence[str],
    *,
    rows: Sequence[Row],
    checkpoints: RunCheckpoints,
    resumed: Path | None,
) -> PeftModel:
    """Freeze the base and add an adapter to it, initialised from the seed and the rows, or as in ``resumed``.

    What is not quantized stays in the precision of the run. PEFT's ``prepare_model_for_kbit_training`` would cast it to
    float32, which doubles the activations and takes 2 GB more for a vocabulary of 128,000 tokens.

    ``targets`` are the modules that the rehearsal chose.
    Raises InvalidConfigError where the method cannot do what is asked.
    """
    method = METHODS[config.method]
    if config.training.gradient_checkpointing:
        # Checkpointed blocks only keep gradients where an input needs them; embeddings are frozen.
        base.enable_input_require_grads()
    set_seed(config.training.seed)
    observes = method.initialization == "ExplainedVariance" and resumed is None
    try:
        # On the device meta: EVA allocates the matrices once it has decided their ranks.
        model = get_peft_model(base, peft_config(config, targets, base, resumed=resumed), low_cpu_mem_usage=observes)
        if method.initialization == "PrincipalWeights":
            initialize = principal_weights.restore_residual if resumed else principal_weights.store_initial
            initialize(model, checkpoints.initial_adapter)
        elif observes:
            explained_variance.initialize(model, rows)
        elif method.long_context:
            whole_weights.hold_in_float32(model)
    except ValueError as error:
        field = "spec.lora.targetModules" if method.kind in ("LoRA", "IA3") else "spec.method"
        raise InvalidConfigError(f"{field}: {error}", field=field) from error
    return model
