"""What a training row becomes, whatever format it was in: a conversation, a preference, or a plain text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``tool_calls`` is JSON text, so that turns can be compared and hashed."""

    role: str
    content: str
    tool_calls: str = ""
    name: str = ""
    tool_call_id: str = ""
    reasoning: str = ""
    """What the assistant thought before it answered."""
    learned: bool = True
    """Whether it is an answer to learn; one that isn't is only what the others follow."""

    @property
    def is_to_learn(self) -> bool:
        """Whether the turn is the assistant's, says something and is meant to be learned."""
        return self.role == "assistant" and self.learned and self.says_something

    @property
    def says_something(self) -> bool:
        """Whether the turn has words or calls a tool."""
        return bool(self.content.strip() or self.tool_calls)

    def as_dict(self) -> dict[str, Any]:
        """Return the shape that chat templates expect."""
        turn: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            turn["tool_calls"] = json.loads(self.tool_calls)
        if self.name:
            turn["name"] = self.name
        if self.tool_call_id:
            turn["tool_call_id"] = self.tool_call_id
        if self.reasoning:
            turn["reasoning_content"] = self.reasoning
        return turn

    def identity(self) -> dict[str, Any]:
        """Return the JSON that identifies the turn."""
        return self.as_dict() if self.learned else {**self.as_dict(), "weight": 0}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row that is rendered with the base's chat template and trained on its assistant turns.

    ``tools`` is the JSON text of the functions that the assistant may call. ``place`` is no part of the identity.
    """

    messages: tuple[Message, ...]
    tools: str = ""
    place: str = field(default="", compare=False)

    def content(self) -> Any:
        """Return the JSON that identifies the row."""
        turns = [message.identity() for message in self.messages]
        return {"messages": turns, "tools": json.loads(self.tools)} if self.tools else turns


@dataclass(frozen=True, slots=True)
class Text:
    """A row that is trained on as it is, every token."""

    text: str
    place: str = field(default="", compare=False)

    def content(self) -> Any:
        """Return the JSON that identifies the row."""
        return self.text


@dataclass(frozen=True, slots=True)
class Preference(Conversation):
    """A conversation whose last answer is judged, not learned word for word; its earlier answers are not learned."""

    @property
    def prompt(self) -> Conversation:
        """The turns before the answer that is judged."""
        first = next(index for index, message in enumerate(self.messages) if message.is_to_learn)
        return Conversation(self.messages[:first], self.tools, self.place)


@dataclass(frozen=True, slots=True)
class Pair(Preference):
    """Two answers to one prompt: ``messages`` end with the chosen one, ``rejected`` has the prompt and the other."""

    rejected: tuple[Message, ...] = field(kw_only=True)

    def content(self) -> Any:
        """Return the JSON that identifies the row."""
        worse = Conversation(self.rejected, self.tools)
        return {"chosen": Conversation.content(self), "rejected": worse.content()}


@dataclass(frozen=True, slots=True)
class Labelled(Preference):
    """An answer that is wanted, or not."""

    wanted: bool = field(kw_only=True)

    def content(self) -> Any:
        """Return the JSON that identifies the row."""
        return {"answered": Conversation.content(self), "wanted": self.wanted}


Example = Conversation | Text
