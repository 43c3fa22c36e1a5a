"""A tokenizer of single bytes, with the special tokens that a chat template writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENS = re.compile(
    "<\uff5c[^\uff5c{}]+\uff5c>|"
    r"<\|[^|<>{}\s]+\|>|<(?:start|end)_of_(?:turn|image)>|<bos>|<eos>|<BOS_TOKEN>|\[/?INST\]|\[gMASK\]|<sop>"
    r"|<turn\|>|<\|turn>|<\|channel>|<channel\|>"
)
NOT_SPECIAL = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")


def byte_tokenizer(
    template: str | None, *, end: str, begin: str | None = None, adds_begin: bool = False, extra: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    """Make a tokenizer for a template, like its models': the marks of thoughts and calls are no special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: index for index, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = dict.fromkeys([*sorted(set(TOKENS.findall(template or ""))), end, *([begin] if begin else []), *extra])
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens(
        [AddedToken(text, special=False, normalized=False) for text in NOT_SPECIAL if text in (template or "")]
    )
    if adds_begin and begin:
        number = tokenizer.token_to_id(begin)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, number)]
        )
    names: dict[str, Any] = {"eos_token": end, "pad_token": end, **({"bos_token": begin} if begin else {})}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.chat_template = template
    return fast
