"""From text to token ids, in batches, with the spans that are learned.

A row is tokenized as a whole, as a server tokenizes a prompt. Only where a token would reach across the beginning of an
answer are the two tokenized apart, because a server never sees them together.

Where a span lies among the tokens is told by their bytes: a tokenizer that has to say at which character each token
begins takes half as long again, and for long texts twice as long. Where bytes can't tell, it is asked.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graft_trainer.data.chat_template import ESCAPE, FIRST_ESCAPE, ChatTemplate
from graft_trainer.data.rows import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHARACTERS_AT_ONCE: Final = 1 << 18
"""Of texts that are tokenized together: what the tokenizer keeps of each token takes twenty times the token, and more
than the CPU's caches hold takes longer."""

PATIENCE: Final = 16
"""Texts more than those whose spans bytes have told, after which a tokenizer is not tried that way any more."""

Texts = Sequence[tuple[str, Sequence[Span]]]
"""Texts with the spans of characters that are learned of each."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids, and the spans of them that are learned."""

    ids: array[int]
    spans: tuple[Span, ...]


class Encoder:
    """Tokenizes rendered texts; nothing is added to them, since templates write special tokens themselves."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> None:
        self._tokenizer = tokenizer
        self._backend: Any = tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.no_truncation()
        self._escaped = [
            list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
            for text in template.escaped_texts
        ]
        self._backend.encode_special_tokens = False
        last = chr(FIRST_ESCAPE + len(template.escaped_texts) - 1)
        self._escapes = re.compile(f"{ESCAPE}([{chr(FIRST_ESCAPE)}-{last}])")
        self.longest_token = max((len(text) for text in tokenizer.get_vocab()), default=1)
        self._begins_with_space = _begins_with_space(tokenizer)
        # What has been tried in vain takes nothing but time: the result is the same either way.
        self._patience = PATIENCE

    def encode(self, texts: Texts) -> list[Encoded]:
        """Tokenize texts with the spans of characters that are learned of them."""
        return [encoded for group in _groups(texts) for encoded in self._encoded(group)]

    def ids(self, text: str) -> list[int]:
        """Tokenize one text."""
        return list(self.encode([(text, ())])[0].ids)

    def _encoded(self, texts: Texts) -> list[Encoded]:
        found = [self._in_segments(*text) if ESCAPE in text[0] else None for text in texts]
        ways: tuple[Callable[[Texts], Sequence[Encoded | None]], ...] = (self._by_bytes, self._by_offsets)
        for encode in ways:
            left = [index for index, encoded in enumerate(found) if encoded is None]
            for index, encoded in zip(left, encode([texts[index] for index in left]), strict=True):
                found[index] = encoded
        return [encoded for encoded in found if encoded is not None]

    def _by_bytes(self, texts: Texts) -> list[Encoded | None]:
        """Tokenize texts without asking where each token begins; None where that has to be asked."""
        if self._patience < 0 or self._token_bytes is None:
            return [None] * len(texts)
        encodings = self._backend.encode_batch_fast([text for text, _ in texts], add_special_tokens=False)
        found: list[Encoded | None] = []
        for (text, spans), encoding in zip(texts, encodings, strict=True):
            ids = array("i", encoding.ids)
            of_tokens = self._token_bytes.spans(text, spans, ids) if spans else ()
            found.append(None if of_tokens is None else Encoded(ids, of_tokens))
            self._patience += -1 if of_tokens is None else 1
        return found

    @cached_property
    def _token_bytes(self) -> TokenBytes | None:
        return TokenBytes.of(self._tokenizer)

    def _by_offsets(self, texts: Texts) -> list[Encoded]:
        encodings = self._backend.encode_batch([text for text, _ in texts], add_special_tokens=False)
        return [
            self._in_segments(text, spans)
            if self._splits(text, spans, encoding)
            else Encoded(array("i", encoding.ids), tuple(_token_span(span, text, encoding) for span in spans))
            for (text, spans), encoding in zip(texts, encodings, strict=True)
        ]

    def _splits(self, text: str, spans: Sequence[Span], encoding: Any) -> bool:
        """Tell whether a token reaches across the beginning of an answer, which can be tokenized apart."""
        return not self._begins_with_space and any(_reaches_across(start, text, encoding) for start, _ in spans)

    def _in_segments(self, text: str, spans: Sequence[Span]) -> Encoded:
        """Tokenize what is learned and what isn't apart, and the text of special tokens as text."""
        ids = array("i")
        learned: list[Span] = []
        cursor = 0
        for start, end in spans:
            ids.extend(self._segment(text[cursor:start]))
            begin = len(ids)
            ids.extend(self._segment(text[start:end]))
            learned.append((begin, len(ids)))
            cursor = end
        ids.extend(self._segment(text[cursor:]))
        return Encoded(ids, tuple(learned))

    def _segment(self, text: str) -> Iterable[int]:
        for index, part in enumerate(self._escapes.split(text)):
            if index % 2:
                yield from self._escaped[ord(part) - FIRST_ESCAPE]
            elif part:
                yield from self._backend.encode(part, add_special_tokens=False).ids


class TokenBytes:
    """Which bytes of a text each token stands for, where the vocabulary tells that."""

    SAMPLE: Final = "A b é"
    """Shows how a vocabulary writes bytes, and whether the tokenizer adds or changes any."""
    NONE: Final = b"\xff"
    """Is in no text."""

    def __init__(self, by_id: Mapping[int, bytes]) -> None:
        self._bytes = [by_id.get(number, self.NONE) for number in range(max(by_id, default=-1) + 1)]
        self._sizes = np.fromiter(map(len, self._bytes), dtype=np.int64, count=len(self._bytes))

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> TokenBytes | None:
        """Return those of a tokenizer; None where its tokens don't make up its texts."""
        sample = tokenizer.backend_tokenizer.encode(cls.SAMPLE, add_special_tokens=False)
        for read in (_bytes_by_letter, _bytes_with_spaces):
            if b"".join(map(read, sample.tokens)) == cls.SAMPLE.encode():
                added = {number: token.content.encode() for number, token in tokenizer.added_tokens_decoder.items()}
                return cls({number: read(token) for token, number in tokenizer.get_vocab().items()} | added)
        return None

    def spans(self, text: str, spans: Sequence[Span], ids: array[int]) -> tuple[Span, ...] | None:
        """Return the tokens of spans of characters.

        None where the tokens don't make up the text, because the tokenizer has changed it; where a token reaches across
        the beginning of a span; and where a span begins or ends at a space, which some tokenizers count for no token.
        """
        edges = [edge for span in spans for edge in span]
        at_space = any(text[edge : edge + 1].isspace() for edge in edges)
        if at_space or edges != sorted(edges) or b"".join(map(self._bytes.__getitem__, ids)) != text.encode():
            return None
        begins = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum(self._sizes[np.frombuffer(ids, dtype=np.intc)], out=begins[1:])
        places = np.fromiter(_places_of_bytes(text, edges), dtype=np.int64, count=len(edges))
        tokens = np.searchsorted(begins, places, side="right") - 1
        if not np.array_equal(begins[tokens[::2]], places[::2]):
            return None
        return tuple(zip(tokens[::2].tolist(), tokens[1::2].tolist(), strict=True))


def _places_of_bytes(text: str, edges: Sequence[int]) -> Iterator[int]:
    """Yield for characters of a text, in their order, how many bytes are before each."""
    place = 0
    for before, edge in pairwise([0, *edges]):
        place += edge - before if text.isascii() else len(text[before:edge].encode())
        yield place


def _bytes_by_letter(token: str) -> bytes:
    """Read a token of a vocabulary that writes each byte as a letter, as GPT-2's does."""
    try:
        return token.translate(_byte_letters()).encode("latin-1")
    except UnicodeEncodeError:
        return TokenBytes.NONE


@cache
def _byte_letters() -> Mapping[int, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {ord(letter): byte for byte, letter in bytes_to_unicode().items()}


_BYTE: Final = re.compile("<0x([0-9A-F]{2})>")
"""A byte that has no token of its own in SentencePiece's vocabularies."""


def _bytes_with_spaces(token: str) -> bytes:
    """Read a token of a vocabulary of SentencePiece's, which writes spaces as ``▁``."""
    byte = _BYTE.fullmatch(token)
    return bytes.fromhex(byte[1]) if byte else token.replace("▁", " ").encode()


def _groups(texts: Texts) -> Iterator[Texts]:
    """Cut texts into groups of so many characters at most, or of one that is longer."""
    start = characters = 0
    for position, (text, _) in enumerate(texts):
        if characters and characters + len(text) > CHARACTERS_AT_ONCE:
            yield texts[start:position]
            start, characters = position, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]


def _token_span(span: Span, text: str, encoding: Any) -> Span:
    """Return the tokens of a span of characters; one that reaches beyond its end is left out."""
    return _token_from(span[0], text, encoding), _token_from(span[1], text, encoding)


def _token_from(position: int, text: str, encoding: Any) -> int:
    """Return the index of the first token that begins at a character or after it, or that reaches across it."""
    token = next(
        (found for found in map(encoding.char_to_token, range(position, len(text))) if found is not None), None
    )
    return len(encoding.ids) if token is None else int(token)


def _reaches_across(position: int, text: str, encoding: Any) -> bool:
    """Tell whether a token has characters on both sides of a position.

    Some tokenizers leave the space before a word out of its token's span, though it is part of the token.
    """
    token = encoding.char_to_token(position)
    if token is None or position == 0:
        return False
    if encoding.token_to_chars(token)[0] < position:
        return True
    return (
        text[position - 1] == " " and encoding.char_to_token(position - 1) is None and encoding.tokens[token][0] in "Ġ▁"
    )


def _begins_with_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether the tokenizer puts a space before whatever it is given: what is apart would then be other tokens."""
    return bool(tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).tokens[:1] == ["▁a"])
