"""What a tokenizer doesn't know of the answers that are learned: a model would learn to say that it is unknown.

Tokenizers that fall back on bytes know everything. Others put one token in the place of whatever they don't know, or,
where they have none, leave it out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from graft_trainer.data.rows import Row, Span

MOST_NAMED: Final = 10
"""Unknown characters that are named."""

RARE: Final = ("\U00012000", "\U000143a0", "\ua4d0")
"""Letters of cuneiform, of Anatolian hieroglyphs and of Lisu: who knows all of them knows any character."""

SPACES: Final = "▁Ġ "
"""What tokens have for spaces; some tokenizers put one before whatever they are given."""

REMEMBERED: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class UnknownTally:
    """How many answers are learned, how many of them hold what the tokenizer doesn't know, and some of that."""

    answers: int = 0
    unknown: int = 0
    characters: tuple[str, ...] = ()

    def __add__(self, other: UnknownTally) -> UnknownTally:
        """Return both counts as one."""
        characters = tuple(dict.fromkeys((*self.characters, *other.characters)))[:MOST_NAMED]
        return UnknownTally(self.answers + other.answers, self.unknown + other.unknown, characters)

    def __str__(self) -> str:
        """Say how many answers it is, and with which characters: ``2 of 8 answers (25 %) hold …``."""
        such = f", such as {' '.join(self.characters)}" if self.characters else ""
        share = f"{self.unknown * 100 / max(self.answers, 1):.3g} %"
        return f"{self.unknown} of {self.answers} answers ({share}) hold what the tokenizer does not know{such}"


class Unknown:
    """What one tokenizer doesn't know."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._backend: Any = tokenizer.backend_tokenizer
        self.token = _unknown_token(tokenizer)
        """The token that stands for it; None where there is none."""
        added = sorted(map(str, tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
        self._added = re.compile("|".join(map(re.escape, added))) if added else None
        self._knows = lru_cache(maxsize=REMEMBERED)(self._is_known)
        self._leaves_out = self.token is None and not any(map(self._is_known, RARE))
        # Of whole words the letters are no part of the vocabulary.
        self._has_letters = type(self._backend.model).__name__ != "WordLevel"

    def tally(self, row: Row, text: str, spans: Sequence[Span]) -> UnknownTally:
        """Count the answers of a row; ``spans`` are those of the characters of its text, before it was cut."""
        # What was cut off is at the end, so that those that are left are the first.
        answers = list(zip(row.answers, spans, strict=False))
        texts = [text[begin:end] for (first, last), (begin, end) in answers if self._is_in(row, first, last)]
        if not texts and not self._leaves_out:
            return UnknownTally(len(answers))
        texts = texts or [text[begin:end] for _, (begin, end) in answers]
        unknown = [self._unknown_in(text) for text in texts]
        count = sum(map(bool, unknown)) if self._leaves_out else len(texts)
        named = dict.fromkeys(character for characters in unknown for character in characters)
        return UnknownTally(len(answers), count, tuple(named)[:MOST_NAMED])

    def doubt(self, tally: UnknownTally) -> str:
        """Return what becomes of the unknown that was counted, and what to do about it; empty where there is none."""
        if not tally.unknown:
            return ""
        learned = "left out"
        if self.token is not None:
            learned = f"learned as {self._tokenizer.convert_ids_to_tokens(self.token)}, which servers don't show"
        return f"{tally}: it is {learned}; use a base that knows it, or write the rows without"

    def _is_in(self, row: Row, first: int, last: int) -> bool:
        return self.token is not None and self.token in row.tokens[first:last]

    def _unknown_in(self, text: str) -> list[str]:
        """Return the characters of a text that are unknown, in their order."""
        if not self._has_letters:
            return []
        # The letters of tokens that a template writes may be in no other.
        text = self._added.sub("", text) if self._added else text
        return [character for character in dict.fromkeys(text) if not self._knows(character)]

    def _is_known(self, character: str) -> bool:
        # Spaces may be part of other tokens, private characters stand for special ones here, and controls say nothing.
        if character.isspace() or unicodedata.category(character) in ("Co", "Cc", "Cf"):
            return True
        encoding = self._backend.encode(character, add_special_tokens=False)
        return any(
            number != self.token and token.strip(SPACES)
            for number, token in zip(encoding.ids, encoding.tokens, strict=True)
        )


def _unknown_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token that a tokenizer has for what it doesn't know, where that is a token of its own."""
    backend: Any = tokenizer.backend_tokenizer
    if type(backend.model).__name__ == "Unigram":
        # It is not to be asked itself.
        token = tokenizer.unk_token_id
    else:
        name = getattr(backend.model, "unk_token", None)
        token = backend.token_to_id(name) if name else None
    # Some call an end token so that they never write for anything else.
    return None if token in (tokenizer.eos_token_id, tokenizer.bos_token_id) else token
