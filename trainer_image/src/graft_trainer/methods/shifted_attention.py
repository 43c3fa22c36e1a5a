"""Shifted sparse attention: trains on long rows at the price of short ones (S²-Attn, LongLoRA, arXiv:2309.12307, §3.2).

A row is cut into groups, and each token attends to those before it in its group only. Half of the heads have groups
that lie half a group later, so that what is learnt passes from group to group, layer by layer. The first and the last
half group of those heads stay apart: to roll them together, as the paper's figure does, would let the first tokens see
the last. Nothing but training steps computes like this; the model answers with its ordinary attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv

from graft_trainer.outcome import InvalidConfigError
from graft_trainer.training.token_count import TokenCountingTrainer

NAME: Final = "shifted_sparse"
"""What Transformers knows it by, beside ``sdpa`` and ``flash_attention_2``."""

MaskFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Whether queries see keys, from indices of row, head, query and key, which are broadcast."""


@contextmanager
def shifted_attention(model: PreTrainedModel, *, group_size: int) -> Iterator[None]:
    """Let the model attend within groups of ``group_size`` tokens, an even number, for a while.

    Raises InvalidConfigError for an architecture whose attention can't be replaced.
    """
    ordinary = model.config._attn_implementation  # noqa: SLF001 - there is no public way to read it
    AttentionInterface.register(NAME, partial(attend, group_size=group_size))
    AttentionMaskInterface.register(NAME, partial(masks, group_size=group_size))
    if ordinary == "sdpa":
        model.set_attn_implementation(NAME)
    if model.config._attn_implementation != NAME:  # noqa: SLF001
        field = "spec.method"
        raise InvalidConfigError(
            f"{field}: the attention of {type(model).__name__} is not the plain one, so LongLoRA can't replace it; "
            "use method LoRA",
            field=field,
        )
    try:
        yield
    finally:
        model.set_attn_implementation(ordinary)


class ShiftedAttentionTrainer(TokenCountingTrainer):
    """Makes its training steps, and nothing else, with shifted attention."""

    def __init__(self, *args: Any, group_size: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._group_size = group_size

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Train on a micro-batch. The backward pass is in here, too, which may compute activations again."""
        with shifted_attention(self.model.get_base_model(), group_size=self._group_size):
            return super().training_step(*args, **kwargs)


def parts(length: int, group_size: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the stretches that are cut into groups from their own beginning: of the straight and the shifted heads.

    A row that fits into a group stays whole for both.
    """
    if length <= group_size:
        return [(0, length)], [(0, length)]
    half = group_size // 2
    return [(0, length)], [(0, half), (half, length)]


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: list[torch.Tensor] | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    group_size: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention's output [rows, tokens, heads, features], and no weights, as Transformers asks for it.

    ``query`` is [rows, heads, tokens, features]; ``key`` and ``value`` may have fewer heads, which the queries of
    ``module`` share. ``attention_mask`` is what ``masks`` has made.
    """
    key, value = (repeat_kv(tensor, module.num_key_value_groups) for tensor in (key, value))
    given = iter(attention_mask) if attention_mask is not None else None
    half = query.shape[1] // 2
    outputs = []
    for heads, stretches in zip((slice(half), slice(half, None)), parts(query.shape[2], group_size), strict=True):
        computed = [
            _in_groups(
                *(tensor[:, heads, begin:end] for tensor in (query, key, value)),
                mask=next(given) if given is not None else None,
                group_size=group_size,
                dropout=dropout,
                scaling=scaling,
            )
            for begin, end in stretches
        ]
        outputs.append(torch.cat(computed, dim=2))
    return torch.cat(outputs, dim=1).transpose(1, 2).contiguous(), None


def _in_groups(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    mask: torch.Tensor | None,
    group_size: int,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Compute one stretch [rows, heads, tokens, features]; its last group is filled up, which nobody before it sees."""
    rows, heads, length, _ = query.shape
    size = min(group_size, length)

    def grouped(tensor: torch.Tensor) -> torch.Tensor:
        filled = pad(tensor, (0, 0, 0, -length % size))
        return filled.reshape(rows, heads, -1, size, tensor.shape[-1]).transpose(1, 2).flatten(0, 1)

    output: torch.Tensor = scaled_dot_product_attention(
        grouped(query),
        grouped(key),
        grouped(value),
        attn_mask=mask,
        dropout_p=dropout,
        scale=scaling,
        is_causal=mask is None,
    )
    return output.reshape(rows, -1, heads, size, output.shape[-1]).transpose(1, 2).flatten(2, 3)[:, :, :length]


def masks(
    *,
    batch_size: int,
    q_length: int,
    mask_function: MaskFunction,
    attention_mask: torch.Tensor | None,
    allow_is_causal_skip: bool,
    device: torch.device,
    group_size: int,
    local_size: int | None = None,
    **_: Any,
) -> list[torch.Tensor] | None:
    """Return a mask [rows × groups, 1, size, size] for each of ``parts``; None where being causal is all that is asked.

    That is so for rows that are padded at their end, too: nothing sees what comes after it. It is not where rows are
    packed, padded at their beginning, or see no further than a window. Transformers' ``mask_function`` knows of all
    but the padding, which is False in ``attention_mask`` [rows, tokens].
    """
    ends_in_padding = attention_mask is None or bool((attention_mask[:, 1:] <= attention_mask[:, :-1]).all())
    if allow_is_causal_skip and ends_in_padding and (local_size is None or local_size >= group_size):
        return None
    rows = torch.arange(batch_size, device=device)[:, None, None, None]
    made = []
    for begin, end in (stretch for stretches in parts(q_length, group_size) for stretch in stretches):
        size = min(group_size, end - begin)
        places = begin + torch.arange(end - begin + (begin - end) % size, device=device).reshape(-1, size)
        query, key = places[None, :, :, None], places[None, :, None, :]
        inside = tuple(index.clamp(max=end - 1) for index in (query, key))
        seen = mask_function(rows, torch.zeros_like(rows), *inside) & (key <= query)
        if attention_mask is not None:
            seen = seen & attention_mask[rows, inside[1]]
        # A token that sees nothing, such as padding, would be no number.
        seen = (seen | (key == query)).expand(batch_size, -1, -1, -1)
        made.append(seen.flatten(0, 1)[:, None])
    return made
