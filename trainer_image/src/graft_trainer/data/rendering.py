"""Turns examples into token ids and labels with the base's own chat template.

Serving renders requests with that same template, so training must too. Labels cover the assistant's turns only; every
other token is masked. `answers` finds them in the text, `encoding` in the tokens.
"""

from __future__ import annotations

import logging
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from graft_trainer.data.answers import Piece, answer_text, pieces_of
from graft_trainer.data.chat_template import SOME_DAY, ChatTemplate
from graft_trainer.data.conversation import Conversation, Example, Message, Text
from graft_trainer.data.encoding import Encoded, Encoder
from graft_trainer.data.rows import Row, Span
from graft_trainer.data.unknown import Unknown
from graft_trainer.outcome import BaseMismatchError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class Renderer:
    """Renders examples as a server of this base would."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        stops: frozenset[int] | None = None,
        today: date = SOME_DAY,
        vocabulary: int | None = None,
        learns_prompts: bool = False,
    ) -> None:
        """Make a renderer.

        Args:
            tokenizer: the base's.
            stops: tokens at which a server ends an answer; the tokenizer's end token where nothing is said.
            today: what templates that write the date are told.
            vocabulary: rows of the base's embedding.
            learns_prompts: whether all of a conversation is learned, and not its answers alone.
        """
        self.tokenizer = tokenizer
        self.template = ChatTemplate(tokenizer, today=today)
        self.encoder = Encoder(tokenizer, self.template)
        self.unknown = Unknown(tokenizer)
        self._stops = stops or frozenset({tokenizer.eos_token_id})
        self._today = today
        self._vocabulary = vocabulary
        self.learns_prompts = learns_prompts
        self._told = False

    def __reduce__(self) -> tuple[Callable[[], Renderer], tuple[()]]:
        """Tell another process of this program how to make the same renderer."""
        make = partial(
            Renderer,
            self.tokenizer,
            stops=self._stops,
            today=self._today,
            vocabulary=self._vocabulary,
            learns_prompts=self.learns_prompts,
        )
        return make, ()

    def pieces(self, example: Example, max_length: int | None = None) -> list[Piece]:
        """Return the texts to train on of an example: none where no answer can be among ``max_length`` tokens.

        Raises UnusableRowError.
        """
        if isinstance(example, Conversation):
            if self.learns_prompts:
                pieces = pieces_of(example, self.template)
                return [replace(piece, spans=((0, len(piece.text)),)) for piece in pieces]
            return pieces_of(example, self.template, longest=self._longest(max_length))
        return [Piece(example.text, ((0, len(example.text)),), 0)]

    def rows(self, examples: Sequence[Example], pieces: Sequence[list[Piece]], max_length: int) -> list[list[Row]]:
        """Tokenize the pieces of examples, cut to ``max_length`` tokens."""
        longest = self._longest(max_length)
        texts = [
            (piece.text[:longest], [(start, min(end, longest)) for start, end in piece.spans if start < longest])
            for example, of_example in zip(examples, pieces, strict=True)
            if not isinstance(example, Text)
            for piece in of_example
        ]
        encoded = iter(self.encoder.encode(texts))
        return [
            [self._text_row(example.text, max_length, longest)]
            if isinstance(example, Text)
            else [self._row(next(encoded), piece, max_length, longest) for piece in of_example]
            for example, of_example in zip(examples, pieces, strict=True)
        ]

    def render(self, example: Example, *, max_length: int) -> list[Row]:
        """Render one example: one row, or one for each answer that the template renders differently later on.

        Raises UnusableRowError where the template refuses it, and BadDatasetError where there is no template.
        """
        return self.rows([example], [self.pieces(example, max_length)], max_length)[0]

    def _longest(self, max_length: int | None) -> int:
        """Return how many characters so many tokens have at most."""
        return sys.maxsize if max_length is None else max_length * self.encoder.longest_token

    def prompt_ids(self, prompt: Conversation) -> list[int]:
        """Render the turns so far and open the assistant's next one, as a server does for a chat request."""
        template = self.template
        return self.encoder.ids(
            template.render(template.turns(prompt.messages), template.tools(prompt.tools), ask=True)
        )

    def expected(self, prompt: Conversation, answer: Message) -> str:
        """Return what a server returns for the one right answer: with what the template writes around its words."""
        ids = self.encoder.ids(answer_text(prompt, answer, self.template).answer)
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _row(self, encoded: Encoded, piece: Piece, max_length: int, longest: int) -> Row:
        ids, spans = encoded.ids, list(encoded.spans)
        if len(piece.text) <= longest and spans and piece.spans[-1][1] == len(piece.text):
            start, end = spans[-1]
            # From behind, where the end mark is in all but a few templates.
            if self._stops.isdisjoint(reversed(ids[start:end])):
                self._tell_of_end(ids[start:end])
                ids.append(self.tokenizer.eos_token_id)
                spans[-1] = (start, len(ids))
        return self._cut(ids, spans, max_length)

    def _text_row(self, text: str, max_length: int, longest: int) -> Row:
        """Tokenize a text that may be rendered already: what begins and ends it is added only where it is missing."""
        tokenizer = self.tokenizer
        begins = bool(tokenizer.bos_token) and text.lstrip().startswith(tokenizer.bos_token)
        ids = array("i", tokenizer(text[:longest], add_special_tokens=not begins)["input_ids"])
        while len(ids) > 1 and ids[-1] == ids[-2] == tokenizer.eos_token_id:
            ids.pop()
        last = next((token for token in reversed(ids) if str(tokenizer.decode([token])).strip()), None)
        if last not in self._stops:
            ids.append(tokenizer.eos_token_id)
        return self._cut(ids, [(0, len(ids))], max_length)

    def _cut(self, ids: array[int], spans: list[Span], max_length: int) -> Row:
        highest = int(np.frombuffer(ids, dtype=np.intc).max()) if self._vocabulary is not None and len(ids) else 0
        if self._vocabulary is not None and highest >= self._vocabulary:
            raise BaseMismatchError(
                f"the tokenizer of the base makes token {highest} of the rows, but its embedding has "
                f"{self._vocabulary}: tokens were added to one and not to the other; resize the embedding, or remove "
                "them",
                field="spec.baseModelRef",
            )
        kept = tuple((start, min(end, max_length)) for start, end in spans if start < min(end, max_length))
        truncated = len(ids) > max_length
        return Row(ids[:max_length] if truncated else ids, kept, truncated)

    def _tell_of_end(self, answer: array[int]) -> None:
        if not self._told:
            self._told = True
            ends = self.tokenizer.convert_ids_to_tokens(sorted(self._stops))
            logger.warning(
                "the chat template ends answers with %r, which no server stops at (it stops at %s): %s is learned "
                "after each last answer",
                self.tokenizer.decode(answer[-2:].tolist()),
                ", ".join(ends),
                self.tokenizer.eos_token,
            )


def prompt_token_ids(prompt: Conversation, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Render the turns so far and open the assistant's next one, as a server does for a chat request."""
    return Renderer(tokenizer).prompt_ids(prompt)
