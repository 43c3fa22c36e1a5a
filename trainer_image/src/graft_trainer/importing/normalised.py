"""Writes an adapter from elsewhere as every version is: one file of weights in PEFT's names, and its settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import IA3Config, LoraConfig, PeftConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from graft_registry.documents import BaseManifest
from graft_trainer.importing.fitting import Fitted
from graft_trainer.importing.scaling import Scaling, scaling_of
from graft_trainer.importing.settings import AdapterSettings
from graft_trainer.importing.wording import shown
from graft_trainer.outcome import InvalidSourceError
from graft_trainer.publishing.version import canonicalize_adapter_config
from graft_trainer.training.checkpoint import ADAPTER_FILES

NO_EFFECT = (
    "NoEffect: every matrix lora_B is zero, as before the first step of a training, so the adapter answers what the "
    "base does; give the folder that was saved after the training"
)


def write_adapter(
    folder: Path,
    fitted: Fitted,
    settings: AdapterSettings,
    weights: Sequence[Path],
    base: BaseManifest,
    *,
    modules: Collection[str],
    transposed: bool,
) -> None:
    """Write the two files of an adapter into an empty folder.

    Args:
        folder: to write into.
        fitted: where each tensor belongs.
        settings: what the adapter says about itself.
        weights: its files.
        base: that it is for.
        modules: all of the base that PEFT could take for a target.
        transposed: whether the base keeps its weights as [in, out].

    Raises:
        InvalidSourceError: a tensor holds what is no number, or the adapter changes nothing.
    """
    scaling = scaling_of(fitted.adapted, settings) if settings.kind == "LoRA" and fitted.adapted else None
    tensors = _scaled(dict(_read(weights, fitted.tensors)), scaling)
    if not changes_anything(tensors):
        raise InvalidSourceError(NO_EFFECT)
    save_file(dict(sorted(tensors.items())), folder / ADAPTER_FILES[1], metadata={"format": "pt"})
    _config(fitted, settings, scaling, modules, transposed=transposed).save_pretrained(str(folder))
    canonicalize_adapter_config(folder / ADAPTER_FILES[0], base)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file of weights. The library may still refuse a file whose header passed our own check.

    Raises InvalidSourceError.
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise InvalidSourceError(
            f"{path.name} is not a safetensors file ({shown(error)}); save the adapter again"
        ) from error


def zeros_of(weights: Sequence[Path]) -> frozenset[str]:
    """Return the names of the matrices B, in the files of an adapter, that are all zero."""
    found = set[str]()
    for path in weights:
        with opened(path) as file:
            found.update(name for name in file.keys() if "lora_B" in name and not file.get_tensor(name).any())  # noqa: SIM118
    return frozenset(found)


def _read(weights: Sequence[Path], names: Mapping[str, str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors that are published, by the names that they get."""
    wanted = {foreign: published for published, foreign in names.items()}
    for path in weights:
        with opened(path) as file:
            for name in sorted(wanted.keys() & set(file.keys())):
                tensor = file.get_tensor(name)
                if not torch.isfinite(tensor).all():
                    raise InvalidSourceError(
                        f"{shown(name)} holds what is no number (NaN or infinite): its training has diverged; import "
                        "an earlier checkpoint",
                    )
                yield wanted[name], tensor


def _scaled(tensors: dict[str, torch.Tensor], scaling: Scaling | None) -> dict[str, torch.Tensor]:
    for module, factor in (scaling.factors if scaling else {}).items():
        for part in ("lora_B.weight", "lora_embedding_B"):
            name = f"base_model.model.{module}.{part}"
            if name in tensors:
                # In float32: twice rounded would be less than what was trained.
                scaled = (tensors[name].float() * factor).to(tensors[name].dtype)
                if not torch.isfinite(scaled).all() or scaled.any() != tensors[name].any():
                    raise InvalidSourceError(
                        f"adapter_config.json: alpha_pattern, rank_pattern: they scale {shown(module)} {factor:g} "
                        f"times as much as most modules, which its numbers don't bear in {scaled.dtype}; give what it "
                        "was trained with"
                    )
                tensors[name] = scaled
    return tensors


def changes_anything(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Tell whether a model with these tensors can answer anything else than its base."""
    for name, tensor in tensors.items():
        if "lora_A" in name or "lora_embedding_A" in name:
            continue
        unchanged = 1.0 if name.endswith("ia3_l") else 0.0
        if (tensor != unchanged).any():
            return True
    return False


def _config(
    fitted: Fitted, settings: AdapterSettings, scaling: Scaling | None, modules: Collection[str], *, transposed: bool
) -> PeftConfig:
    targets = target_names(fitted.adapted, modules)
    whole = sorted({parameter.rpartition(".")[0] for parameter in fitted.whole}) or None
    if scaling is None:
        inner = [module for module, layer in fitted.adapted.items() if layer.tensors["ia3_l"].shape[0] == 1]
        return IA3Config(
            task_type="CAUSAL_LM",
            inference_mode=True,
            target_modules=targets,
            feedforward_modules=[name for name in targets if _is_one_of(name, inner)],
            modules_to_save=whole,
            fan_in_fan_out=transposed,
        )
    return LoraConfig(
        task_type="CAUSAL_LM",
        inference_mode=True,
        r=scaling.rank,
        lora_alpha=scaling.alpha,
        lora_dropout=settings.lora_dropout or 0.0,
        rank_pattern=scaling.rank_pattern,
        alpha_pattern=scaling.alpha_pattern,
        target_modules=targets,
        modules_to_save=whole,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        fan_in_fan_out=transposed,
    )


def target_names(adapted: Collection[str], modules: Collection[str]) -> list[str]:
    """Return the shortest names that mean exactly the adapted modules: the ends of their paths, or all of them."""
    leaves = {module.rpartition(".")[2] for module in adapted}
    meant = {module for module in modules if module.rpartition(".")[2] in leaves}
    return sorted(leaves if meant == set(adapted) else adapted)


def _is_one_of(name: str, modules: Sequence[str]) -> bool:
    return any(module == name or module.endswith(f".{name}") for module in modules)
