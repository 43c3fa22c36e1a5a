"""The columns of sets that people train on, with words of our own: each is read as it is meant, or says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from graft_trainer.data.conversation import Conversation, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.formats import detect_format, to_example, with_columns

Q, A = "how far is it", "two miles"
HUMAN, GPT = {"from": "human", "value": Q}, {"from": "gpt", "value": A}
USER, ASSISTANT = {"role": "user", "content": Q}, {"role": "assistant", "content": A}
ROLES = ["user", "assistant"]

READ: dict[str, tuple[dict[str, Any], list[str]]] = {
    "tatsu-lab/alpaca": ({"instruction": Q, "input": "", "output": A, "text": "### ..."}, ROLES),
    "yahma/alpaca-cleaned": ({"output": A, "input": "a map", "instruction": Q}, ROLES),
    "databricks/databricks-dolly-15k": ({"instruction": Q, "context": "", "response": A, "category": "open_qa"}, ROLES),
    "HuggingFaceH4/ultrachat_200k": ({"prompt": Q, "prompt_id": "1", "messages": [USER, ASSISTANT]}, ROLES),
    "HuggingFaceH4/no_robots": ({"prompt": Q, "prompt_id": "1", "messages": [USER, ASSISTANT], "category": "x"}, ROLES),
    "HuggingFaceTB/smoltalk": ({"messages": [USER, ASSISTANT], "source": "x"}, ROLES),
    "allenai/tulu-3-sft-mixture": ({"id": "1", "messages": [USER, ASSISTANT], "source": "x"}, ROLES),
    "Open-Orca/OpenOrca": ({"id": "1", "system_prompt": "s", "question": Q, "response": A}, ["system", *ROLES]),
    "Open-Orca/SlimOrca": (
        {
            "conversations": [
                {"from": "system", "value": "s", "weight": None},
                {**HUMAN, "weight": 0.0},
                {**GPT, "weight": 1.0},
            ]
        },
        ["system", *ROLES],
    ),
    "teknium/OpenHermes-2.5": (
        {
            "conversations": [HUMAN, GPT],
            "custom_instruction": None,
            "topic": None,
            "source": "x",
            "system_prompt": None,
        },
        ROLES,
    ),
    "anon8231489123/ShareGPT_Vicuna_unfiltered": ({"id": "1", "conversations": [HUMAN, GPT]}, ROLES),
    "WizardLMTeam/WizardLM_evol_instruct_V2_196k": ({"idx": "1", "conversations": [HUMAN, GPT]}, ROLES),
    "lmsys/lmsys-chat-1m": (
        {"conversation_id": "1", "model": "m", "conversation": [USER, ASSISTANT], "turn": 1},
        ROLES,
    ),
    "allenai/WildChat-1M": (
        {"conversation": [{**USER, "language": "English", "toxic": False}, ASSISTANT], "toxic": False},
        ROLES,
    ),
    "microsoft/orca-math-word-problems-200k": ({"question": Q, "answer": A}, ROLES),
    "openai/gsm8k": ({"question": Q, "answer": f"{A}\n#### 2"}, ROLES),
    "meta-math/MetaMathQA": ({"type": "x", "query": Q, "original_question": "o", "response": A}, ROLES),
    "TIGER-Lab/MathInstruct": ({"source": "x", "output": A, "instruction": Q}, ROLES),
    "AI-MO/NuminaMath-CoT": ({"source": "x", "problem": Q, "solution": A, "messages": [USER, ASSISTANT]}, ROLES),
    "nvidia/OpenMathInstruct-2": ({"problem": Q, "generated_solution": A, "expected_answer": "2"}, ROLES),
    "simplescaling/s1K": ({"question": Q, "solution": A, "cot_type": "math"}, ROLES),
    "sahil2801/CodeAlpaca-20k": ({"instruction": Q, "input": "", "output": A}, ROLES),
    "nickrosh/Evol-Instruct-Code-80k-v1": ({"instruction": Q, "output": A}, ROLES),
    "ise-uiuc/Magicoder-OSS-Instruct-75K": ({"lang": "c", "seed": "s", "problem": Q, "solution": A}, ROLES),
    "m-a-p/CodeFeedback-Filtered-Instruction": ({"query": Q, "answer": A, "resource": "r", "lang": "c"}, ROLES),
    "b-mc2/sql-create-context": ({"question": Q, "context": "CREATE TABLE ways (miles INT)", "answer": A}, ROLES),
    "NousResearch/hermes-function-calling-v1": (
        {
            "id": "1",
            "conversations": [{"from": "system", "value": "s"}, HUMAN, GPT, {"from": "tool", "value": "{}"}, GPT],
            "tools": "[]",
        },
        ["system", *ROLES, "tool", "assistant"],
    ),
    "nvidia/HelpSteer2": ({"prompt": Q, "response": A, "helpfulness": 4, "verbosity": 2}, ROLES),
    "CohereForAI/aya_dataset": ({"inputs": Q, "targets": A, "language": "x", "user_id": "u"}, ROLES),
    "garage-bAInd/Open-Platypus": ({"input": "", "output": A, "instruction": Q, "data_source": "x"}, ROLES),
    "BelleGroup/train_1M_CN": ({"instruction": Q, "input": "", "output": A}, ROLES),
    "open-thoughts/OpenThoughts-114k": (
        {"system": "s", "conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": A}]},
        ["system", *ROLES],
    ),
    "GAIR/lima": ({"conversations": [Q, A], "source": "x"}, ROLES),
    "HuggingFaceH4/ultrafeedback_binarized": (
        {"prompt": Q, "chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT], "messages": [USER, ASSISTANT]},
        ROLES,
    ),
    "a file for OpenAI's fine-tuning": ({"messages": [USER, {**ASSISTANT, "weight": 1}]}, ROLES),
    "a set of LLaMA-Factory's with a history": ({"instruction": Q, "output": A, "history": [[Q, A]]}, ROLES * 2),
}

TEXTS = {
    "timdettmers/openassistant-guanaco": {"text": f"### Human: {Q}### Assistant: {A}"},
    "Salesforce/wikitext": {"text": "a page"},
    "HuggingFaceFW/fineweb": {"text": "a page", "id": "1", "dump": "x", "url": "u", "language_score": 0.9},
    "roneneldan/TinyStories": {"text": "a story"},
}

REFUSED: dict[str, tuple[dict[str, Any], DropReason, str]] = {
    "OpenAssistant/oasst1": (
        {"message_id": "1", "parent_id": None, "text": Q, "role": "prompter"},
        DropReason.WRONG_KEYS,
        "cannot tell the format",
    ),
    "Anthropic/hh-rlhf": ({"chosen": Q, "rejected": A}, DropReason.PREFERENCE, "give the chosen ones"),
    "argilla/distilabel-intel-orca-dpo-pairs": (
        {"system": "s", "input": Q, "chosen": A, "rejected": "no"},
        DropReason.PREFERENCE,
        "give the chosen ones",
    ),
    "trl-lib/kto-mix-14k": (
        {"prompt": [USER], "completion": [ASSISTANT], "label": True},
        DropReason.PREFERENCE,
        "give the wanted ones",
    ),
    "glaiveai/glaive-function-calling-v2": ({"system": "s", "chat": "USER: x"}, DropReason.WRONG_KEYS, "cannot tell"),
    "Salesforce/xlam-function-calling-60k": (
        {"id": 1, "query": Q, "answers": "[]", "tools": "[]"},
        DropReason.WRONG_KEYS,
        "spec.dataset.columns",
    ),
    "knkarthick/samsum": ({"id": "1", "dialogue": "A: hello", "summary": "s"}, DropReason.WRONG_KEYS, "columns"),
    "abisee/cnn_dailymail": ({"article": "a", "highlights": "h", "id": "1"}, DropReason.WRONG_KEYS, "columns"),
    "rajpurkar/squad": (
        {"id": "1", "title": "t", "context": "c", "question": Q, "answers": {"text": [A], "answer_start": [0]}},
        DropReason.WRONG_KEYS,
        "columns",
    ),
    "liuhaotian/LLaVA-Instruct-150K": (
        {"id": "1", "image": "1.jpg", "conversations": [HUMAN, GPT]},
        DropReason.NOT_TEXT,
        "only text can be learned",
    ),
    "HuggingFaceM4/the_cauldron": ({"images": ["x"], "texts": [{}]}, DropReason.NOT_TEXT, "images is no text"),
}


@pytest.mark.parametrize(("record", "roles"), READ.values(), ids=READ)
def test_a_set_of_conversations_is_read_as_it_is_meant(record: dict[str, Any], roles: list[str]) -> None:
    example = to_example(record, detect_format(record))
    assert isinstance(example, Conversation)
    assert [message.role for message in example.messages] == roles
    last_question = [message for message in example.messages if message.role == "user"][-1].content
    assert last_question.startswith(Q)
    extra = next((record[key] for key in ("input", "context") if record.get(key)), "")
    assert last_question.endswith(extra)
    assert example.messages[-1].content.startswith(A)
    assert example.messages[-1].is_to_learn


@pytest.mark.parametrize("record", TEXTS.values(), ids=TEXTS)
def test_a_set_of_texts_is_read_as_texts(record: dict[str, Any]) -> None:
    assert to_example(record, detect_format(record)) == Text(record["text"])


@pytest.mark.parametrize(("record", "reason", "message"), REFUSED.values(), ids=REFUSED)
def test_a_set_that_cannot_be_learned_as_it_is_says_what_to_do(
    record: dict[str, Any], reason: DropReason, message: str
) -> None:
    with pytest.raises(UnusableRowError, match=message) as raised:
        to_example(record, detect_format(record))
    assert raised.value.reason is reason


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        ({"id": "1", "dialogue": "A: hello", "summary": "s"}, {"prompt": "dialogue", "completion": "summary"}),
        ({"article": "a", "highlights": "h", "id": "1"}, {"prompt": "article", "completion": "highlights"}),
    ],
)
def test_columns_make_a_set_of_something_else_one_of_conversations(
    record: dict[str, Any], columns: dict[str, str]
) -> None:
    mapped = with_columns(record, columns)
    example = to_example(mapped, detect_format(mapped))
    assert isinstance(example, Conversation)
    assert [message.content for message in example.messages] == [record[name] for name in columns.values()]


def test_there_are_forty_sets() -> None:
    assert len({**READ, **TEXTS, **REFUSED}) >= 40
