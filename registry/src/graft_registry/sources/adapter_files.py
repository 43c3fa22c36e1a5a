"""Which files of a folder are an adapter that PEFT has saved. Pure.

Only these are ever opened. What training libraries leave beside them (tokenizers, optimizers, checkpoints, logs) is
neither needed nor safe to read.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from graft_registry.adapters.publishable import ADAPTER_CONFIG, ADAPTER_SHARD, ADAPTER_WEIGHTS
from graft_registry.sources.source_files import SourceError, SourceProblem

MOST_FILES: Final = 10_000
"""Below one folder. Whoever names a whole bucket is told so, instead of waiting for all of it."""
_PICKLES: Final = re.compile(r"(adapter_model|pytorch_model|lora|adapter).*\.(bin|pt|pth|ckpt|pkl)")
_CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")

_FORMATS_OF_OTHERS: Final = (
    (
        r"adapters\.(safetensors|npz)",
        "an adapter of mlx-lm, whose matrices are the other way round; convert it to PEFT's",
    ),
    (r"pytorch_lora_weights\.safetensors", "an adapter of Diffusers, for a model that makes pictures"),
    (r".*\.gguf", "a file of llama.cpp; give the folder that it was converted from"),
    (r"(model|pytorch_model)[-.].*", "a whole model; make a BaseModel of it"),
)
"""What else is called an adapter, by the names of its files."""


def files_of_adapter(names: Collection[str], *, where: str, field: str) -> tuple[str, ...]:
    """Return the configuration and the files of the weights, in order.

    Args:
        names: paths of all files below the folder.
        where: the folder, for messages.
        field: of the spec, that names it.

    Raises:
        SourceError: the folder is empty, or has no adapter that can be read; says where there is one.
    """
    if not names:
        raise SourceError(
            SourceProblem.NOT_FOUND, f"there are no files below {where}; name the folder that PEFT has saved", field
        )
    if ADAPTER_CONFIG not in names:
        raise SourceError(SourceProblem.INVALID, f"{where} has no {ADAPTER_CONFIG}; {_instead(names)}", field)
    if ADAPTER_WEIGHTS in names:
        return (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    shards = sorted(name for name in names if ADAPTER_SHARD.fullmatch(name))
    if not shards:
        raise SourceError(SourceProblem.INVALID, f"{where} has no {ADAPTER_WEIGHTS}; {_unreadable(names)}", field)
    _check_all_are_there(shards, where, field)
    return (ADAPTER_CONFIG, *shards)


def few_enough(names: list[str], *, where: str, field: str) -> list[str]:
    """Return the names that were found.

    Raises:
        SourceError: there are more than one adapter has.
    """
    if len(names) > MOST_FILES:
        raise SourceError(
            SourceProblem.INVALID, f"{where} has more than {MOST_FILES} files below it; name the adapter's own", field
        )
    return names


def _check_all_are_there(shards: Sequence[str], where: str, field: str) -> None:
    totals = {found[2] for name in shards if (found := ADAPTER_SHARD.fullmatch(name))}
    expected = [f"adapter_model-{number:05}-of-{max(totals)}.safetensors" for number in range(1, int(max(totals)) + 1)]
    if missing := sorted(set(expected).symmetric_difference(shards)):
        raise SourceError(
            SourceProblem.INVALID,
            f"{where} has {len(shards)} of the {len(expected)} parts of its weights, not alike in {missing[0]}; copy "
            "the folder again, whole",
            field,
        )


def _instead(names: Collection[str]) -> str:
    """Say where an adapter is instead, or what this is."""
    folders = [name.removesuffix(f"/{ADAPTER_CONFIG}") for name in names if name.endswith(f"/{ADAPTER_CONFIG}")]
    if folders:
        folders.sort(key=_by_step)
        some = ", ".join(folders[-5:])
        return f"there are adapters in folders of it ({some}): name one of them, such as {folders[-1]}"
    if ADAPTER_WEIGHTS in names:
        return "it belongs beside the weights: PEFT's save_pretrained writes both"
    return _unreadable(names)


def _by_step(folder: str) -> tuple[int, str]:
    found = _CHECKPOINT.search(folder)
    return (int(found[1]) if found else 0, folder)


def _unreadable(names: Collection[str]) -> str:
    """Say why what is there can't be read, and what would help."""
    pickle = next((name for name in sorted(names) if _PICKLES.fullmatch(name)), None)
    if pickle is not None:
        return f"{pickle} is a pickle, which is never loaded; convert it where you trust it: {conversion_of(pickle)}"
    for pattern, what in _FORMATS_OF_OTHERS:
        found = next((name for name in sorted(names) if re.fullmatch(pattern, name)), None)
        if found is not None:
            return f"{found} is {what}"
    return f"found {', '.join(sorted(names)[:5])}; name the folder that PEFT's save_pretrained has written"


def conversion_of(pickle: str) -> str:
    """Return the command that turns pickled weights into those that are read."""
    return (
        'python -c "import torch, safetensors.torch as s; '
        f"w = torch.load('{pickle}', map_location='cpu', weights_only=True); "
        f"s.save_file({{k: v.clone().contiguous() for k, v in w.items()}}, '{ADAPTER_WEIGHTS}')\""
    )
