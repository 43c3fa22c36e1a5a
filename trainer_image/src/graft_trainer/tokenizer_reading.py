"""Checks that Transformers' tokenizer splits words into the same tokens as the base's own tokenizer.json does.

For some model types Transformers takes the tokenizer's class from a table of its own, whatever the base's files name.
If the tokenizer.json is of another kind, that class keeps only its vocabulary. Most words are then lost without an
error, and the adapter would be trained and judged on what is left of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from graft_trainer.outcome import BaseMismatchError

WORDS: Final = 64
LOOKED_AT: Final = 4096
"""Entries of the vocabulary among which words are looked for: those of 200,000 would take a second."""


def check_reading(path: Path, tokenizer: PreTrainedTokenizerBase, *, field: str) -> None:
    """Raise BaseMismatchError if the tokenizer gives other tokens than the base's tokenizer.json for most words.

    For a few it may: some classes correct how known tokenizers split numbers, or whether a text begins with a space.
    """
    file = path / "tokenizer.json"
    if not file.is_file():
        return
    own = Tokenizer.from_file(str(file))
    # A tokenizer.json may ask for both, which is meant for the model's inputs and would distort the comparison.
    own.no_truncation()
    own.no_padding()
    text = " ".join(islice(_words(own), WORDS))
    expected = Counter(own.encode(text, add_special_tokens=False).ids)
    found = Counter(tokenizer(text, add_special_tokens=False)["input_ids"])
    if 2 * (expected & found).total() < expected.total():
        raise BaseMismatchError(
            "the base's tokenizer.json is not of its kind of model: because of model_type in config.json Transformers "
            f"reads it as {type(tokenizer).__name__}, and gets other tokens for most words of its vocabulary, as "
            "engines would; give a base whose tokenizer.json is of the kind that its model_type has",
            field=field,
        )


def _words(tokenizer: Tokenizer) -> Iterator[str]:
    """Yield words of a vocabulary, from all over it."""
    size = tokenizer.get_vocab_size(with_added_tokens=False)
    for number in range(0, size, max(1, size // LOOKED_AT)):
        word = tokenizer.decode([number]).strip()
        if word.isalpha():
            yield word
