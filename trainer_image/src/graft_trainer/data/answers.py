"""Finds the answers of a conversation in what the template writes of it: what is learned, and after which prompt.

An answer is learned as it will be asked for: after the very prompt that a server writes for the turns before it. Where
the whole conversation, rendered once, holds an answer so, it is a span of that text. Where the template writes earlier
answers differently (without their reasoning, for one), the answer becomes a row of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from graft_trainer.data.chat_template import THINK, THOUGHT, ChatTemplate, Turn
from graft_trainer.data.conversation import Conversation, Message
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.rows import Span

_MARK: Final = re.compile("\ue000(\\d+)\ue001")
"""Stands for the words of a turn, to see what a template writes around them."""


_MARKED: Final = "7309{:06d}"
"""Stands for words that are not found in a text: digits, of which templates make nothing else."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A text to train on, the spans of characters that are learned of it, and the turns that it was made from."""

    text: str
    spans: tuple[Span, ...]
    turns: int
    """How many turns of the conversation are in it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a server would write before an answer, and the answer with its end mark."""

    prompt: str
    answer: str

    @property
    def text(self) -> str:
        """Prompt and answer."""
        return self.prompt + self.answer


def pieces_of(conversation: Conversation, template: ChatTemplate, *, longest: int = sys.maxsize) -> list[Piece]:
    """Return the texts to train on for one conversation: the whole of it where that holds every answer, else several.

    Of a text no more than ``longest`` characters are used, so an answer that begins behind them is left out: n long
    turns would take n times their memory. Nothing is returned where all of them do.
    Raises UnusableRowError where the template doesn't render the turns, or not what an answer says.
    """
    rendering = _Rendering(conversation, template)
    rendering.check_context()
    together: list[Span] = []
    apart: list[Piece] = []
    before = 0
    for position, message in enumerate(conversation.messages):
        if message.role != "assistant":
            # At least that stands before what follows, however the template writes it.
            before += len(message.content.strip())
        if before >= longest:
            break
        if not message.is_to_learn:
            continue
        found = rendering.span_in_whole(position)
        if not isinstance(found, Asked):
            together.append(found)
        elif len(found.prompt) < longest:
            # One character more shows that something was cut off.
            text = found.text[: longest + 1]
            apart.append(Piece(text, ((len(found.prompt), len(text)),), position + 1))
    if together:
        return [*apart, Piece(rendering.whole, tuple(together), len(conversation.messages))]
    return apart


def answer_text(prompt: Conversation, answer: Message, template: ChatTemplate) -> Asked:
    """Return what the template makes of one more turn."""
    conversation = Conversation((*prompt.messages, answer), prompt.tools)
    return _Rendering(conversation, template).ask(len(prompt.messages))


class _Rendering:
    """One conversation under one template."""

    def __init__(self, conversation: Conversation, template: ChatTemplate) -> None:
        self._messages = conversation.messages
        self._template = template
        self._turns = template.turns(conversation.messages)
        self._tools = template.tools(conversation.tools)
        self.whole = template.render(self._turns, self._tools)
        answers = sum(message.is_to_learn for message in conversation.messages)
        self._outline = self._find_outline() if answers > 2 else None
        self._known: dict[tuple[str, str], tuple[int, int] | None] = {}

    def check_context(self) -> None:
        """Refuse turns of which the template leaves one out: its answers would be learned without what they follow.

        Templates may write words otherwise (as JSON, say), so only what is left out whatever it says counts.
        """
        for name in _names_of(self._tools):
            if name not in self.whole:
                raise UnusableRowError(
                    DropReason.REFUSED_BY_TEMPLATE,
                    f"the base's chat template does not write the declared tools ({name[:60]}); leave them out of the "
                    "rows, or use a base that knows tools",
                )
        missing = self._not_found()
        if not missing:
            return
        marked = [*self._turns]
        for position in missing:
            marked[position] = {**marked[position], "content": _MARKED.format(position)}
        try:
            found = self._template.render(marked, self._tools)
        except UnusableRowError:
            return
        for position in missing:
            if _MARKED.format(position) not in found:
                role = self._messages[position].role
                raise UnusableRowError(
                    DropReason.REFUSED_BY_TEMPLATE,
                    f"the base's chat template leaves out turn {position + 1}, which is the {role}'s; put its words "
                    "into a turn that it writes, or leave it out of the rows",
                )

    def _not_found(self) -> list[int]:
        """Return the turns, but for answers, whose words are not in the whole text as they are."""
        cursor, missing = 0, []
        for position, turn in enumerate(self._turns):
            words = turn["content"].strip()
            if turn["role"] == "assistant" or not words:
                continue
            place = self.whole.find(words, cursor)
            if place < 0:
                place = self.whole.find(words)
            if place < 0:
                missing.append(position)
            else:
                cursor = max(cursor, place)
        return missing

    def span_in_whole(self, position: int) -> Span | Asked:
        """Return where the whole text holds an answer as it is asked for, or how it is asked for where it doesn't.

        In a long conversation most answers stand between the same texts. What was found out of one such answer holds
        for the next one, so that a conversation of n turns takes a few renderings and not 2n.
        """
        place = self._outline.get(position) if self._outline else None
        if place is not None and (offsets := self._known.get(place.around)) is not None:
            return place.start + offsets[0], place.end + offsets[1]
        asked = self.ask(position)
        if not self.whole.startswith(asked.text):
            return asked
        span = len(asked.prompt), len(asked.text)
        if place is not None:
            self._known[place.around] = (span[0] - place.start, span[1] - place.end)
        return span

    def ask(self, position: int) -> Asked:
        """Return what a server would write before the answer at ``position``, and the answer."""
        last = position + 1 == len(self._turns)
        prompt = self._template.render(self._turns[:position], self._tools, ask=True)
        through = self.whole if last else self._template.render(self._turns[: position + 1], self._tools)
        turn = self._turns[position]
        asked = _continue(prompt, through, turn)
        if turn.get("reasoning_content") and turn["reasoning_content"].strip() not in asked.answer:
            raise UnusableRowError(
                DropReason.REFUSED_BY_TEMPLATE,
                "the base's chat template does not write the reasoning of an answer; remove it, or use a base that "
                "reasons",
            )
        _check_says(asked.answer, turn)
        return asked

    def _find_outline(self) -> dict[int, _Place] | None:
        """Render the turns with marks for words, to find where the whole text has those; None where it isn't so."""
        marked = [
            {**turn, "content": f"\ue000{index}\ue001"} if turn["content"] else turn
            for index, turn in enumerate(self._turns)
        ]
        try:
            parts = _MARK.split(self._template.render_often(marked, self._tools))
        except UnusableRowError:
            return None
        return _places(parts, self._turns, self.whole)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the words of a turn are in a text, and what the template writes around them."""

    start: int
    end: int
    around: tuple[str, str]


def _places(parts: list[str], turns: list[Turn], whole: str) -> dict[int, _Place] | None:
    """Put the words back into the texts around them; None where the result isn't the whole text."""
    places: dict[int, _Place] = {}
    cursor = 0
    for index in range(0, len(parts), 2):
        between = parts[index]
        if not whole.startswith(between, cursor):
            return None
        cursor += len(between)
        if index + 1 == len(parts):
            break
        position = int(parts[index + 1])
        words: str = turns[position]["content"]
        if not whole.startswith(words, cursor):
            words = words.strip()
            if not whole.startswith(words, cursor):
                return None
        if position in places:
            return None
        places[position] = _Place(cursor, cursor + len(words), (between, parts[index + 2]))
        cursor += len(words)
    return places if cursor == len(whole) else None


def _continue(prompt: str, through: str, turn: Turn) -> Asked:
    """Tell the answer from its prompt, where the text through the answer doesn't begin with the prompt too.

    Some prompts open a thought that the template doesn't write before an answer without one: it is closed at once,
    or holds the reasoning of the row.
    Raises UnusableRowError for prompts that end in anything else.
    """
    if through.startswith(prompt):
        return Asked(prompt, through[len(prompt) :])
    common = _common_length(prompt, through)
    thinking = len(prompt.rstrip()) - len(THINK)
    if prompt.rstrip().endswith(THINK) and thinking <= common < thinking + len(THINK):
        # Another tag may begin like this one.
        common = thinking
    opened, rest = prompt[common:], through[common:]
    if not opened.strip():
        return Asked(prompt, rest)
    if opened.strip() == THINK:
        thought = turn.get("reasoning_content") or _thought_in(turn["content"])
        return Asked(prompt, f"{thought.strip()}\n{THOUGHT}\n\n{rest.lstrip()}")
    raise UnusableRowError(
        DropReason.REFUSED_BY_TEMPLATE,
        f"the base's chat template opens an answer with {opened[-60:]!r}, which it doesn't write before one that is "
        "there already, so what a server asks for could not be learned; use format Text with rows that are rendered "
        "already",
    )


def _common_length(first: str, second: str) -> int:
    """Return how many characters two texts begin with alike."""
    unlike = (index for index, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(unlike, min(len(first), len(second)))


def _thought_in(content: Any) -> str:
    """Return the reasoning that a turn has in its words."""
    before, found, _ = str(content).partition(THOUGHT)
    return before.partition(THINK)[2] or before if found else ""


def _names_of(tools: list[Any] | None) -> Iterator[str]:
    """Yield the names of declared functions."""
    for tool in tools or ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield function["name"]


def _check_says(answer: str, turn: Turn) -> None:
    """Refuse an answer in which the template has left out what the turn says."""
    for words in _words_of(turn):
        if words not in answer:
            raise UnusableRowError(
                DropReason.REFUSED_BY_TEMPLATE,
                f"the base's chat template does not write {words[:60]!r} of an answer, so nothing of it could be "
                "learned; it may not know calls of tools",
            )


def _words_of(turn: Turn) -> Iterator[str]:
    """Yield what has to be in an answer: its words after the reasoning, and the name of each function it calls."""
    words = str(turn["content"]).rpartition(THOUGHT)[2].strip()
    if words:
        yield words
    for call in turn.get("tool_calls", ()):
        yield call["function"]["name"]
