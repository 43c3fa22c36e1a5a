"""Adapters as others make them: with PEFT and a loop of one's own, knowing nothing of Graft."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

BATCH = 8
RATE = 3e-3


def train_plainly(base: Path, rows: Path, folder: Path, *, steps: int, rank: int = 8, seed: int = 0) -> None:
    """Train on the answers of chat rows and save what PEFT saves; seconds on one core."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    conversations = [json.loads(line)["messages"] for line in rows.read_text(encoding="utf-8").splitlines()]
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=RATE)
    chosen = random.Random(seed)
    for _ in range(steps):
        rows_of_step = [answer_of(tokenizer, conversation) for conversation in chosen.sample(conversations, BATCH)]
        longest = max(len(tokens) for tokens, _ in rows_of_step)
        # Padded at the end, where nothing is learned: what comes later is not seen by what comes before.
        batch = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens, _ in rows_of_step])
        labels = torch.tensor([learned + [-100] * (longest - len(learned)) for _, learned in rows_of_step])
        optimizer.zero_grad()
        model(input_ids=batch, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(str(folder))


def answer_of(tokenizer: Any, conversation: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """Return the tokens of a conversation, and which of them are learned: the last turn's."""
    prompt = tokenizer.apply_chat_template(
        conversation[:-1], tokenize=True, add_generation_prompt=True, return_dict=False
    )
    whole = tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=False)
    return whole, [-100] * len(prompt) + whole[len(prompt) :]


def as_pickle(folder: Path) -> None:
    """Replace the weights by a pickle of them, as older releases of PEFT have written it."""
    import torch
    from safetensors.torch import load_file

    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "adapter_model.bin")
    weights.unlink()
