"""From text to token ids, in batches, with the spans that are learned.

A row is tokenized as a whole, as a server tokenizes a prompt. Only where a token would reach across the beginning of an
answer are the two tokenized apart, because a server never sees them together.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graft_trainer.data.chat_template import ESCAPE, FIRST_ESCAPE, ChatTemplate
from graft_trainer.data.rows import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHARACTERS_AT_ONCE = 1 << 20
"""Of texts that are tokenized together: what the tokenizer tells about each token takes a hundred times the token."""


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

    def encode(self, texts: Sequence[tuple[str, Sequence[Span]]]) -> list[Encoded]:
        """Tokenize texts with the spans of characters that are learned of them."""
        return [encoded for group in _groups(texts) for encoded in self._encoded(group)]

    def _encoded(self, texts: Sequence[tuple[str, Sequence[Span]]]) -> list[Encoded]:
        encodings = self._backend.encode_batch([text for text, _ in texts], add_special_tokens=False)
        return [
            self._in_segments(text, spans)
            if ESCAPE in text or self._splits(text, spans, encoding)
            else Encoded(array("i", encoding.ids), tuple(_token_span(span, text, encoding) for span in spans))
            for (text, spans), encoding in zip(texts, encodings, strict=True)
        ]

    def ids(self, text: str) -> list[int]:
        """Tokenize one text."""
        return list(self.encode([(text, ())])[0].ids)

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


def _groups(texts: Sequence[tuple[str, Sequence[Span]]]) -> Iterator[Sequence[tuple[str, Sequence[Span]]]]:
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
