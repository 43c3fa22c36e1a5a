"""The forms of rows that say which answer is better: pairs for DPO, labelled answers for KTO.

The forms are those of TRL (prompts of their own, or implicit ones that both answers begin with; texts or turns),
LLaMA-Factory (turns beside ``chosen`` and ``rejected``, or beside a ``label``), Axolotl (the same in its own words),
and OpenAI's files for preferences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from graft_trainer.config import Objective
from graft_trainer.data import formats
from graft_trainer.data.conversation import Example, Labelled, Message, Pair, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.columns import as_told
from graft_trainer.data.fields.texts import read_json, truth_of
from graft_trainer.data.formats import LABELS, OPENAI, PREFERENCES, TURNS, Record
from graft_trainer.data.turns import parse_turns
from graft_trainer.data.unused import ANSWERING, unused_beside, unused_in
from graft_trainer.data.written_turns import turns_in

ASKS: Final = ("prompt", "instruction", "question", "query", "input", "inputs", "problem")
"""Names of a pair's question."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read for an objective: their format by their keys, the example, and the keys that are left over."""

    detect: Callable[[Record], str]
    convert: Callable[..., Example]
    unused: Callable[[Record, str], set[str]]


def to_pair(record: Record, format_name: str, *, place: str = "") -> Pair:
    """Convert a row with ``chosen`` and ``rejected``: texts, turns, or whole conversations that begin alike.

    Raises UnusableRowError with what is wrong and where in the record.
    """
    record = _in_known_words(record)
    formats.check_is_text(record)
    formats.check_weight(record)
    missing = [key for key in PREFERENCES if record.get(key) is None]
    if missing:
        raise UnusableRowError(
            DropReason.NO_PREFERENCE,
            f"objective DPO learns from pairs, and the row has no {' and no '.join(missing)}; give prompt, "
            "chosen and rejected, by spec.dataset.columns if they have other names, or set spec.training.objective SFT "
            "or KTO. The row has "
            f"{', '.join(sorted(map(as_told, map(str, record))))}",
        )
    chosen, rejected = (_answer(record[key], key) for key in PREFERENCES)
    opens = [turns[0].role not in ANSWERING for turns in (chosen, rejected)]
    if opens[0] != opens[1]:
        raise UnusableRowError(
            DropReason.MALFORMED, "one of chosen and rejected begins with the prompt, the other with the answer"
        )
    common = _common_prompt(chosen, rejected) if opens[0] else []
    before, shared = _whole_prompt(record, common) if common else _prompt(record), len(common)
    if before[0].role != "system":
        before = [*formats.system_turns(record), *before]
    answers = [_judged(turns[shared:], key) for turns, key in zip((chosen, rejected), PREFERENCES, strict=True)]
    if answers[0] == answers[1]:
        raise UnusableRowError(DropReason.SAME_ANSWERS, "chosen and rejected are the same, so nothing is preferred")
    prompt = tuple(map(_only_read, before))
    return Pair((*prompt, *answers[0]), formats.declared_tools(record), place, rejected=(*prompt, *answers[1]))


def to_labelled(record: Record, format_name: str, *, place: str = "") -> Labelled:
    """Convert a row of the named format with a label that says whether its last answer is wanted.

    Raises UnusableRowError with what is wrong and where in the record.
    """
    wanted = _label(record)
    example = formats.to_example(_without_label(record), format_name, place=place)
    if isinstance(example, Text):
        raise UnusableRowError(DropReason.NO_PREFERENCE, "a text has no prompt and answer; give prompt and completion")
    turns = example.messages
    first = max((at + 1 for at, turn in enumerate(turns) if turn.role not in ANSWERING), default=0)
    answer = _judged(turns[first:], "the last answer")
    return Labelled((*map(_only_read, turns[:first]), *answer), example.tools, place, wanted=wanted)


def detect_pair(record: Record) -> str:
    """Name the format of pairs: it is told row by row, by what chosen and rejected hold."""
    return "Auto"


def detect_labelled(record: Record) -> str:
    """Name the format of a row without its label. Raises UnusableRowError where the keys fit no format."""
    _label(record)
    return formats.detect_format(_without_label(record))


def unused_in_pair(record: Record, format_name: str) -> set[str]:
    """Return the keys of a pair and its turns that nothing is made of."""
    return unused_beside(_in_known_words(record), ASKS)


def unused_in_labelled(record: Record, format_name: str) -> set[str]:
    """Return the keys of a labelled row and its turns that nothing is made of."""
    return unused_in(_without_label(record), format_name)


READINGS: Final[Mapping[Objective, Reading]] = {
    "SFT": Reading(formats.detect_format, formats.to_example, unused_in),
    "DPO": Reading(detect_pair, to_pair, unused_in_pair),
    "KTO": Reading(detect_labelled, to_labelled, unused_in_labelled),
}
"""How rows are read, by objective."""


def _in_known_words(record: Record) -> Record:
    """Return a row of OpenAI's files for preferences, whose question is an object, in the words of the others."""
    asked = _asked(record.get("input"))
    own = {key: value for key, value in record.items() if key not in OPENAI and not (asked and key == "input")}
    pair = {ours: record[theirs] for theirs, ours in zip(OPENAI, PREFERENCES, strict=True) if theirs in record}
    return {**asked, **pair, **own} if asked or pair else record


def _asked(value: Any) -> Mapping[str, Any]:
    """Return the object that OpenAI's files ask with, which tables hold as its JSON text; empty where it is none."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = read_json(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) and "messages" in value else {}


def _answer(value: Any, key: str) -> list[Message]:
    """Read what one side of a pair holds: a text, one turn, or a list of turns."""
    if isinstance(value, Mapping):
        return parse_turns([value], key)
    return formats.side_turns({key: value}, key, "assistant")


def _common_prompt(chosen: Sequence[Message], rejected: Sequence[Message]) -> list[Message]:
    """Return the turns that two conversations begin with alike: the prompt that is implicit in them."""
    pairs = enumerate(zip(chosen, rejected, strict=False))
    shared = next((at for at, (one, other) in pairs if one != other), min(len(chosen), len(rejected)))
    if shared == len(chosen) == len(rejected):
        raise UnusableRowError(DropReason.SAME_ANSWERS, "chosen and rejected are the same, so nothing is preferred")
    # Of answers in several turns the first ones may be alike; a prompt ends where the assistant begins to answer.
    while shared and chosen[shared - 1].role in ANSWERING:
        shared -= 1
    for turns, key in ((chosen, "chosen"), (rejected, "rejected")):
        if shared == 0 or shared == len(turns) or turns[shared].role not in ANSWERING:
            raise UnusableRowError(
                DropReason.MALFORMED,
                f"{key}[{shared}] is no answer to a prompt that chosen and rejected share; let both begin with the "
                "same turns, and differ in what the assistant says last",
            )
    return list(chosen[:shared])


def _prompt(record: Record) -> list[Message]:
    """Return the turns of a prompt that stands beside its two answers."""
    key = next((key for key in TURNS if formats.may_be_turns(record.get(key), key)), None)
    if key is not None:
        turns = parse_turns(record[key], key)
    else:
        key = next((key for key in ASKS if record.get(key) is not None), None)
        if key is None:
            raise UnusableRowError(
                DropReason.MALFORMED,
                "the pair has no prompt; give it as prompt, or let chosen and rejected be turns that begin with it",
            )
        turns = formats.side_turns(record, key, "user")
        if turns[-1].role == "user":
            turns[-1] = Message("user", formats.with_extra(turns[-1].content, record, key))
        turns = [*formats.earlier_turns(record), *turns]
    if turns[-1].role == "assistant":
        raise UnusableRowError(
            DropReason.MALFORMED, f"{key} ends with an answer; it must end with what chosen and rejected answer"
        )
    return turns


def _whole_prompt(record: Record, common: Sequence[Message]) -> list[Message]:
    """Return the prompt that both answers begin with, and with it what the turns of ``prompt`` have beyond it.

    Raises UnusableRowError where those are other turns: one of the two would be lost. (A text there says again what is
    asked, in many sets without what stands around it.)
    """
    given = turns_in(record.get("prompt"), "prompt")
    beside = parse_turns(given, "prompt") if given else []
    while beside and beside[-1].role in ANSWERING:
        beside.pop()
    for longer, shorter in ((beside, list(common)), (list(common), beside)):
        if shorter in (longer[: len(shorter)], longer[len(longer) - len(shorter) :]):
            return longer
    raise UnusableRowError(
        DropReason.MALFORMED,
        "prompt and the turns that chosen and rejected begin with are two prompts; leave out one, or let the one end "
        "or begin with the other",
    )


def _judged(turns: Sequence[Message], key: str) -> tuple[Message, ...]:
    """Return the turns of an answer. Raises UnusableRowError where the assistant says nothing in them."""
    if not any(turn.is_to_learn for turn in turns):
        raise UnusableRowError(DropReason.NO_ANSWER, f"{key} says nothing, so there is no answer to judge")
    return tuple(turns)


def _only_read(turn: Message) -> Message:
    """Return a turn of a prompt: an earlier answer is no part of what is judged."""
    return replace(turn, learned=False) if turn.role == "assistant" else turn


def _label(record: Record) -> bool:
    """Return whether a row's answer is wanted."""
    name = next((name for name in LABELS if record.get(name) is not None), None)
    if name is None:
        remedy = (
            "set spec.training.objective DPO for pairs"
            if formats.has_pair(record)
            else "give label true or false, by spec.dataset.columns if it has another name, or set "
            "spec.training.objective SFT"
        )
        raise UnusableRowError(
            DropReason.NO_PREFERENCE, f"objective KTO learns from labelled answers, and the row has no label; {remedy}"
        )
    value = record[name]
    wanted = truth_of(value)
    if wanted is None:
        raise UnusableRowError(DropReason.MALFORMED, f"{name} is {value!r}; expected true or false")
    other = next((other for other in LABELS if truth_of(record.get(other)) is (not wanted)), None)
    if other is not None:
        raise UnusableRowError(
            DropReason.MALFORMED, f"{name} is {value!r} and {other} is {record[other]!r}; leave one of them out"
        )
    return wanted


def _without_label(record: Record) -> Record:
    return {key: value for key, value in record.items() if key not in LABELS}
