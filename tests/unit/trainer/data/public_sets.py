"""Sets that people train on: their columns, with words of our own, and their files as they lie on the hub."""

from __future__ import annotations

from typing import Any

from graft_trainer.data.dropped_rows import DropReason

Q, A = "how far is it", "two miles"
HUMAN, GPT = {"from": "human", "value": Q}, {"from": "gpt", "value": A}
USER, ASSISTANT = {"role": "user", "content": Q}, {"role": "assistant", "content": A}
WRONG = {"role": "assistant", "content": "a mile"}
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
    "bespokelabs/Bespoke-Stratos-17k": (
        {"system": "s", "conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": A}]},
        ["system", *ROLES],
    ),
    "Team-ACE/ToolACE": (
        {"system": "s", "conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": A}]},
        ["system", *ROLES],
    ),
    "open-r1/OpenR1-Math-220k": (
        {"problem": Q, "solution": A, "answer": "2", "uuid": "1", "messages": [USER, ASSISTANT]},
        ROLES,
    ),
    "HuggingFaceTB/smoltalk2": (
        {"messages": [USER, ASSISTANT], "chat_template_kwargs": {"enable_thinking": False}},
        ROLES,
    ),
    "gbharti/finance-alpaca": ({"text": "", "instruction": Q, "input": "", "output": A}, ROLES),
    "GAIR/lima": ({"conversations": [Q, A], "source": "x"}, ROLES),
    "HuggingFaceH4/ultrafeedback_binarized": (
        {"prompt": Q, "chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT], "messages": [USER, ASSISTANT]},
        ROLES,
    ),
    "a file for OpenAI's fine-tuning": ({"messages": [USER, {**ASSISTANT, "weight": 1}]}, ROLES),
    "a set of LLaMA-Factory's with a history": ({"instruction": Q, "output": A, "history": [[Q, A]]}, ROLES * 2),
}

TEXTS: dict[str, dict[str, Any]] = {
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
    "Anthropic/hh-rlhf": (
        {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}", "rejected": f"\n\nHuman: {Q}\n\nAssistant: no"},
        DropReason.PREFERENCE,
        "give the chosen ones",
    ),
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
    "EdinburghNLP/xsum": ({"document": "a page", "summary": "s", "id": "1"}, DropReason.WRONG_KEYS, "columns"),
    "knkarthick/dialogsum": (
        {"id": "1", "dialogue": "A: hello", "summary": "s", "topic": "t"},
        DropReason.WRONG_KEYS,
        "columns",
    ),
    "FreedomIntelligence/medical-o1-reasoning-SFT": (
        {"Question": Q, "Complex_CoT": "so", "Response": A},
        DropReason.WRONG_KEYS,
        "columns",
    ),
    "qiaojin/PubMedQA": (
        {"pubid": 1, "question": Q, "context": {"contexts": ["c"]}, "long_answer": A, "final_decision": "yes"},
        DropReason.WRONG_KEYS,
        "columns",
    ),
    "LDJnr/Capybara": (
        {"source": "x", "conversation": [{"input": Q, "output": A}]},
        DropReason.UNKNOWN_ROLE,
        "conversation",
    ),
    "argilla/distilabel-capybara-dpo-7k-binarized": (
        {"source": "x", "conversation": None, "chosen": [USER, ASSISTANT], "rejected": [USER, WRONG]},
        DropReason.PREFERENCE,
        "DPO",
    ),
    "Skywork/Skywork-Reward-Preference-80K-v0.2": (
        {"chosen": [USER, ASSISTANT], "rejected": [USER, WRONG], "source": "x"},
        DropReason.PREFERENCE,
        "DPO",
    ),
    "mlabonne/orpo-dpo-mix-40k": (
        {"source": "x", "prompt": Q, "chosen": [USER, ASSISTANT], "rejected": [USER, WRONG], "question": Q},
        DropReason.PREFERENCE,
        "DPO",
    ),
    "argilla/ultrafeedback-binarized-preferences-cleaned": (
        {"source": "x", "prompt": Q, "chosen": [USER, ASSISTANT], "chosen-rating": 5.0, "rejected": [USER, WRONG]},
        DropReason.PREFERENCE,
        "DPO",
    ),
    "lmsys/chatbot_arena_conversations": (
        {"winner": "model_a", "conversation_a": [USER, ASSISTANT], "conversation_b": [USER, WRONG]},
        DropReason.WRONG_KEYS,
        "cannot tell the format",
    ),
    "HuggingFaceM4/the_cauldron": (
        {"images": ["x"], "texts": [{"user": Q, "assistant": A}]},
        DropReason.NOT_TEXT,
        "images is no text",
    ),
}

PARQUET = "data/train-00000-of-00001.parquet"
"""What the hub has of most sets, converted by itself where they are something else."""

FILES: dict[str, str] = {
    "yahma/alpaca-cleaned": "alpaca_data_cleaned.json",
    "databricks/databricks-dolly-15k": "databricks-dolly-15k.jsonl",
    "HuggingFaceH4/ultrachat_200k": "data/train_sft-00000-of-00003.parquet",
    "Open-Orca/OpenOrca": "1M-GPT4-Augmented.parquet",
    "Open-Orca/SlimOrca": "oo-labeled_correct.gpt4.sharegpt.jsonl",
    "teknium/OpenHermes-2.5": "openhermes2_5.json",
    "anon8231489123/ShareGPT_Vicuna_unfiltered": "ShareGPT_V3_unfiltered_cleaned_split.json",
    "openai/gsm8k": "main/train-00000-of-00001.parquet",
    "meta-math/MetaMathQA": "MetaMathQA-395K.json",
    "TIGER-Lab/MathInstruct": "MathInstruct.json",
    "sahil2801/CodeAlpaca-20k": "code_alpaca_20k.json",
    "nickrosh/Evol-Instruct-Code-80k-v1": "EvolInstruct-Code-80k.json",
    "ise-uiuc/Magicoder-OSS-Instruct-75K": "data-oss_instruct-decontaminated.jsonl",
    "m-a-p/CodeFeedback-Filtered-Instruction": "CodeFeedback-Filtered-Instruction.jsonl",
    "b-mc2/sql-create-context": "sql_create_context_v4.json",
    "NousResearch/hermes-function-calling-v1": "func-calling-singleturn.json",
    "nvidia/HelpSteer2": "train.jsonl.gz",
    "BelleGroup/train_1M_CN": "Belle_open_source_1M.json",
    "GAIR/lima": "train.jsonl",
    "Team-ACE/ToolACE": "data.json",
    "HuggingFaceTB/smoltalk": "data/all/train-00000-of-00009.parquet",
    "gbharti/finance-alpaca": "Cleaned_date.json",
    "a file for OpenAI's fine-tuning": "train.jsonl",
    "a set of LLaMA-Factory's with a history": "alpaca_zh_demo.json",
    "timdettmers/openassistant-guanaco": "openassistant_best_replies_train.jsonl",
    "Salesforce/wikitext": "wikitext-103-v1/train-00000-of-00002.parquet",
    "Anthropic/hh-rlhf": "harmless-base/train.jsonl.gz",
    "glaiveai/glaive-function-calling-v2": "glaive-function-calling-v2.json",
    "Salesforce/xlam-function-calling-60k": "xlam_function_calling_60k.json",
    "knkarthick/samsum": "train.csv",
    "knkarthick/dialogsum": "train.csv",
    "abisee/cnn_dailymail": "3.0.0/train-00000-of-00003.parquet",
    "liuhaotian/LLaVA-Instruct-150K": "llava_instruct_150k.json",
    "FreedomIntelligence/medical-o1-reasoning-SFT": "medical_o1_sft.json",
    "qiaojin/PubMedQA": "pqa_labeled/train-00000-of-00001.parquet",
    "LDJnr/Capybara": "CapybaraPure_Decontaminated.jsonl",
}
"""Files that are not called so, as on the hub; a split is made of them."""

MENDED: dict[str, dict[str, Any]] = {
    "knkarthick/samsum": {"columns": {"prompt": "dialogue", "completion": "summary"}},
    "knkarthick/dialogsum": {"columns": {"prompt": "dialogue", "completion": "summary"}},
    "abisee/cnn_dailymail": {"columns": {"prompt": "article", "completion": "highlights"}},
    "EdinburghNLP/xsum": {"columns": {"prompt": "document", "completion": "summary"}},
    "FreedomIntelligence/medical-o1-reasoning-SFT": {
        "columns": {"question": "Question", "reasoning_content": "Complex_CoT", "answer": "Response"}
    },
    "argilla/distilabel-intel-orca-dpo-pairs": {"objective": "DPO"},
    "argilla/distilabel-capybara-dpo-7k-binarized": {"objective": "DPO"},
    "Skywork/Skywork-Reward-Preference-80K-v0.2": {"objective": "DPO"},
    "mlabonne/orpo-dpo-mix-40k": {"objective": "DPO"},
    "argilla/ultrafeedback-binarized-preferences-cleaned": {"objective": "DPO"},
    "trl-lib/kto-mix-14k": {"objective": "KTO"},
}
"""With what sets that are refused otherwise are read."""
