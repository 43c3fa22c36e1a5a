"""Tells trained parameters of the base from unchanged copies of them, which PEFT saves beside an adapter in doubt."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from transformers import PreTrainedModel

from graft_trainer.importing.completeness import FIELD
from graft_trainer.importing.fitting import Fitted
from graft_trainer.importing.normalised import opened
from graft_trainer.importing.source import ForeignAdapter
from graft_trainer.importing.wording import shown
from graft_trainer.outcome import BaseMismatchError

logger = logging.getLogger(__name__)

ROUNDINGS: Final[tuple[tuple[torch.dtype, ...], ...]] = (
    (),
    (torch.bfloat16,),
    (torch.float16,),
    (torch.float16, torch.bfloat16),
    (torch.bfloat16, torch.float16),
)
"""Number formats that a copy may have been rounded to, in order: of the loaded model, and of the saved adapter."""

STEP: Final = 2.0**-7
"""The relative distance between a bfloat16 number and the next one, at most."""
SMALLEST_STEP: Final = 2.0**-24
"""The distance between the subnormal numbers of float16, whose relative precision is lower."""

ELEMENTS_AT_ONCE: Final = 1 << 24
"""Compared in float32: an embedding as a whole would take several times its size."""


def without_copies(fitted: Fitted, base: PreTrainedModel, adapter: ForeignAdapter, name: str) -> Fitted:
    """Leave out parameters that are only copies of the base's own.

    Raises BaseMismatchError where what has to be a copy is not one.
    """
    own = dict(base.named_parameters(remove_duplicate=False))
    theirs = {info.name: parameter for parameter, info in (fitted.whole | fitted.copies).items()}
    differing = set()
    for path in adapter.weights:
        with opened(path) as file:
            for tensor in theirs.keys() & set(file.keys()):
                parameter = theirs[tensor]
                same = is_alike if parameter in fitted.copies else is_copy
                if not same(file.get_tensor(tensor), own[parameter]):
                    differing.add(parameter)
    if foreign := sorted(differing & fitted.copies.keys()):
        raise BaseMismatchError(
            f"the adapter's copy of the base's {shown(foreign[0])} is not what base {name} has: it was trained on "
            "another base; name that one",
            field=FIELD,
        )
    whole = {parameter: info for parameter, info in fitted.whole.items() if parameter in differing}
    if dropped := sorted(fitted.whole.keys() - whole.keys()):
        logger.info("left out, since the base has the same: %s", ", ".join(dropped))
    return replace(fitted, whole=whole, copies={})


def is_copy(theirs: torch.Tensor, own: torch.Tensor) -> bool:
    """Tell whether a parameter that may have been trained is the base's, number by number.

    It is a copy where one of the roundings turns every number of the base into the copy's, in the base's own format. A
    norm of the difference would not do: training may change single rows of an embedding, or a norm layer by little. A
    parameter that is not in memory can't be compared and counts as trained.
    """
    if own.is_meta:
        return False
    possible = list(ROUNDINGS)
    for ours, copied in _slices(own, theirs):
        possible = [formats for formats in possible if torch.equal(copied.to(own.dtype), _rounded(ours, formats))]
        if not possible:
            return False
    return True


def is_alike(theirs: torch.Tensor, own: torch.Tensor) -> bool:
    """Tell whether a parameter that nobody trained is of this base, number by number.

    Here the base's own numbers may have been rounded, too, from those that the copy was rounded from. What is not in
    memory can't be compared and counts as of another base.
    """
    if own.is_meta:
        return False
    return all(
        bool(((copied.float() - ours.float()).abs() <= STEP * ours.float().abs() + SMALLEST_STEP).all())
        for ours, copied in _slices(own, theirs)
    )


def _slices(own: torch.Tensor, theirs: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    own, theirs = own.detach().reshape(-1), theirs.reshape(-1)
    for begin in range(0, own.numel(), ELEMENTS_AT_ONCE):
        part = slice(begin, begin + ELEMENTS_AT_ONCE)
        yield own[part], theirs[part].to(own.device)


def _rounded(numbers: torch.Tensor, formats: tuple[torch.dtype, ...]) -> torch.Tensor:
    """Return numbers as they come back from other formats."""
    result = numbers
    for dtype in formats:
        result = result.to(dtype)
    return result.to(numbers.dtype)
