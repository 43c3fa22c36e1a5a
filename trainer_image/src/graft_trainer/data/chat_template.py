"""The base's own chat template: what a server writes for a conversation, told from what it writes around it.

Templates differ in what they take. Some want the words of a turn as a list of parts, some the arguments of a call as
text, some call the reasoning ``thinking``. Servers find that out by themselves, and so does this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from graft_trainer.data.conversation import Message
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.outcome import BadDatasetError, BaseMismatchError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turn = dict[str, Any]

THINK, THOUGHT = "<think>", "</think>"
"""What stands around a thought, in most templates and in the words of rows."""

FIRST_ESCAPE: Final = 0xF0000
ESCAPE: Final = chr(FIRST_ESCAPE)
"""Begins what stands for the text of a special token within a row: this and one more private character, for its number.

Fonts have icons at private characters, so rows may hold any of them. This one stands for itself when it is escaped, and
no other is looked at where it doesn't follow this one.
"""
REMEMBERED: Final = 256
"""Texts that are remembered of turns without words of their own; each has some kilobytes."""
SOME_DAY: Final = date(2026, 1, 1)
"""What templates are told the day is where nobody says."""


class ChatTemplate:
    """Renders conversations with the template of a tokenizer.

    ``today`` is what templates that write the date are told, so that every pod of a run writes the same one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, today: date = SOME_DAY) -> None:
        self._tokenizer = tokenizer
        self._today = today
        self._named_tokens = tokenizer.special_tokens_map
        self.escaped_texts = (*sorted(_special_tokens(tokenizer), key=len, reverse=True), ESCAPE)
        """What is escaped within rows, in the order of the numbers that stand for them."""
        self._escapable = re.compile("|".join(map(re.escape, self.escaped_texts)))
        self._escapes = {text: ESCAPE + chr(FIRST_ESCAPE + number) for number, text in enumerate(self.escaped_texts)}
        self._shape = lru_cache(maxsize=4)(self._find_shape)
        self._remembered = lru_cache(maxsize=REMEMBERED)(lambda turns: self.render(json.loads(turns), None))

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        """Return what the template is given, with the text of special tokens within turns made harmless.

        A row that talks about ``<|im_end|>`` would otherwise end its own turn. Reasoning that a row has within the
        words of an answer is taken out of them, where the template has a place for it.
        """
        return [self._harmless(self._with_reasoning_apart(message).as_dict()) for message in messages]

    def tools(self, tools: str) -> list[Any] | None:
        """Return the declared functions of a row, as the template is given them."""
        return self._escaped(json.loads(tools)) if tools else None

    def render(self, turns: Sequence[Turn], tools: list[Any] | None, *, ask: bool = False) -> str:
        """Write the turns, and open the assistant's next one with ``ask``.

        Raises UnusableRowError where the template refuses the turns, BadDatasetError where there is none, and
        BaseMismatchError where it is none that can be read.
        """
        if not self._tokenizer.chat_template:
            raise BadDatasetError(
                "the base has no chat template, so conversations cannot be rendered; use format Text or an instruct "
                "base",
                field="spec.dataset.format",
            )
        try:
            source = self._tokenizer.get_chat_template(tools=tools)
            _compiled(source)
        except Exception as error:
            raise BaseMismatchError(
                f"the base's chat template can't be read ({type(error).__name__}: {error}), not by engines either; "
                "correct it, or use another base",
                field="spec.baseModelRef",
            ) from error
        try:
            return self._write(source, [adapt(turn, self._shape(source)) for turn in turns], tools, ask=ask)
        except Exception as error:
            # Templates raise jinja2 errors of many classes for roles that they do not support.
            roles = [turn["role"] for turn in turns]
            raise UnusableRowError(
                DropReason.REFUSED_BY_TEMPLATE, f"the base's chat template refuses the roles {_short(roles)}: {error}"
            ) from error

    def render_often(self, turns: Sequence[Turn], tools: list[Any] | None) -> str:
        """Write turns as `render` does, and remember it: for turns without words of a row, which many rows share."""
        return self._remembered(json.dumps(turns)) if tools is None else self.render(turns, tools)

    def _with_reasoning_apart(self, message: Message) -> Message:
        thought, closed, words = message.content.partition(THOUGHT)
        if message.role != "assistant" or message.reasoning or not closed or not thought.lstrip().startswith(THINK):
            return message
        template = self._tokenizer.chat_template
        source = template.get("default", "") if isinstance(template, dict) else template or ""
        if not self._shape(source).shows_reasoning:
            return message
        reasoning = thought.lstrip().removeprefix(THINK).strip("\n")
        return replace(message, reasoning=reasoning, content=words.lstrip("\n"))

    def _write(self, source: str, turns: Sequence[Turn], tools: list[Any] | None, *, ask: bool) -> str:
        return _compiled(source)(
            messages=turns,
            tools=tools,
            documents=None,
            add_generation_prompt=ask,
            strftime_now=self._today.strftime,
            **self._named_tokens,
        )

    def _find_shape(self, source: str) -> Shape:
        """Find out what the template takes, as servers do: by looking at what it makes of a few turns."""

        def shows(mark: str, *turns: Turn, shape: Shape) -> bool:
            try:
                return mark in self._write(source, [adapt(turn, shape) for turn in turns], None, ask=False)
            except Exception:  # noqa: BLE001 - the template doesn't take them
                return False

        asked = {"role": "user", "content": "MARK"}
        parts = not shows("MARK", asked, shape=Shape()) and shows("MARK", asked, shape=Shape(parts=True))
        call = {"function": {"name": "CALLED", "arguments": {"a": 1}}, "type": "function", "id": "abcdefghi"}
        calling = {"role": "assistant", "content": "", "tool_calls": [call]}
        ways = [
            Shape(parts=parts, arguments_as_text=text, no_words=none)
            for none in (False, True)
            for text in (False, True)
        ]
        shape = next((way for way in ways if shows("CALLED", asked, calling, shape=way)), ways[0])
        shape.reasoning = next((name for name in REASONING_NAMES if re.search(rf"\b{name}\b", source)), None)
        thinking = {"role": "assistant", "content": "words", "reasoning_content": "THOUGHT"}
        shape.shows_reasoning = shape.reasoning == REASONING_NAMES[0] and shows("THOUGHT", asked, thinking, shape=shape)
        return shape

    def _harmless(self, turn: Turn) -> Turn:
        """Return a turn without the text of special tokens; most are told at a glance to have none."""
        if "tool_calls" not in turn:
            texts = "\n".join((*turn, *turn.values()))
            if not self._escapable.search(texts):
                return turn
        return dict(self._escaped(turn))

    def _escaped(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._escapable.sub(lambda found: self._escapes[found[0]], value)
        if isinstance(value, Mapping):
            return {self._escaped(name): self._escaped(item) for name, item in value.items()}
        return [self._escaped(item) for item in value] if isinstance(value, list) else value


REASONING_NAMES: Final = ("reasoning_content", "thinking", "reasoning")
"""What templates call the reasoning of an answer."""


@dataclass(slots=True)
class Shape:
    """What a template takes."""

    parts: bool = False
    """The words of a turn as a list of parts."""
    arguments_as_text: bool = False
    """The arguments of a call as JSON text."""
    no_words: bool = False
    """Null for the words of a turn that only calls."""
    reasoning: str | None = REASONING_NAMES[0]
    """Its name for the reasoning of an answer; None where it has none."""
    shows_reasoning: bool = False
    """Whether it writes the reasoning of a last answer that calls no tool."""


def adapt(turn: Turn, shape: Shape) -> Turn:
    """Return a turn as a template of a shape takes it."""
    if not shape.parts and "tool_calls" not in turn and "reasoning_content" not in turn:
        return turn
    turn = dict(turn)
    if shape.no_words and "tool_calls" in turn:
        turn["content"] = turn["content"] or None
    if shape.parts and isinstance(turn["content"], str):
        turn["content"] = [{"type": "text", "text": turn["content"]}]
    if shape.arguments_as_text and "tool_calls" in turn:
        turn["tool_calls"] = [
            {
                **call,
                "function": {
                    **call["function"],
                    "arguments": json.dumps(call["function"].get("arguments", {}), ensure_ascii=False),
                },
            }
            for call in turn["tool_calls"]
        ]
    reasoning = turn.pop("reasoning_content", None)
    if reasoning is not None and shape.reasoning is not None:
        turn[shape.reasoning] = reasoning
    return turn


@lru_cache(maxsize=8)
def _compiled(source: str) -> Callable[..., str]:
    """Compile a template as Transformers does; its own cache is by the call, which takes longer than a short row."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    template = _compile_jinja_template(source)
    # Jinja leaves a chain of maps, which is copied name by name for each rendering.
    template.globals = dict(template.globals)
    return template.render  # type: ignore[no-any-return]


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """Return the texts that a tokenizer reads as special tokens."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return {text for text in added | set(tokenizer.all_special_tokens) if text.strip()}


def _short(roles: Sequence[str]) -> str:
    return str(list(roles[:6]))[:-1] + (", …]" if len(roles) > 6 else "]")


def visible(answer: str) -> str:
    """Return what a user sees of an answer: without the thought before it, which servers keep apart."""
    return answer.rpartition(THOUGHT)[2].strip()
