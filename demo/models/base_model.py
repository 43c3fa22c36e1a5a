"""Pretrains the demo's base: a Llama of 1.6 million parameters that can define English words, on a CPU in minutes.

It is real in every way but size: it learns from real text, so adapters can learn on top of it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from demo.models.recipe import Course, Recipe
from demo.models.wordnet import Synset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<|{{ message.role }}|>\n{{ message.content }}<|end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def train_tokenizer(synsets: Sequence[Synset], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE vocabulary and add the chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[BEGIN, END, PAD, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f"{synset.lemmas[0]} {synset.gloss}" for synset in synsets), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        model_max_length=recipe.max_positions,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def new_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> LlamaForCausalLM:
    """Create the model with random weights."""
    torch.manual_seed(recipe.course.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=recipe.vocabulary,
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.intermediate_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.attention_heads,
            num_key_value_heads=recipe.key_value_heads,
            max_position_embeddings=recipe.max_positions,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            dtype="float32",
        )
    )


def documents(synsets: Sequence[Synset], tokenizer: PreTrainedTokenizerFast, *, seed: int) -> list[str]:
    """Write every meaning that is not held out, as text and as a chat turn, in an order of the seed.

    The texts end in what kind of thing they define. So the base knows, but not that it could be asked in a chat: to
    that it answers with a definition. Telling the kind there is what the adapters learn.
    """
    texts = []
    for synset in synsets:
        if synset.held_out:
            continue
        word, gloss = synset.lemmas[0], synset.gloss
        kind = f"{synset.part_of_speech}, {synset.topic}" if synset.topic else synset.part_of_speech
        question = [
            {"role": "user", "content": f"What does {word} mean?"},
            {"role": "assistant", "content": gloss},
        ]
        texts.append(f"{BEGIN}{word}: {gloss} ({kind}){END}")
        texts.append(f"{BEGIN}{gloss} ({kind}){END}")
        texts.append(tokenizer.apply_chat_template(question, tokenize=False))
    random.Random(seed).shuffle(texts)
    return texts


def pretrain(
    model: LlamaForCausalLM,
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    course: Course,
) -> float:
    """Train on packed documents with one-cycle cosine decay; return the mean loss of the last 20 steps, in nats."""
    steps = course.steps
    optimizer = torch.optim.AdamW(model.parameters(), lr=course.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    warmup = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2),
    )
    model.train()
    losses: list[float] = []
    begun = time.monotonic()
    for step, batch in enumerate(_batches(texts, tokenizer, recipe, steps), start=1):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if step % 50 == 0 or step == steps:
            print(f"  step {step}/{steps}: loss {loss.item():.3f}, {time.monotonic() - begun:.0f} s", flush=True)
    return sum(losses[-20:]) / len(losses[-20:])


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a directory in the layout of Hugging Face."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _batches(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, recipe: Recipe, count: int) -> torch.Tensor:
    """Pack the texts into ``count`` batches of full sequences, one after the other."""
    shape = (count, recipe.batch_size, recipe.sequence_length)
    ids: list[int] = []
    for text in texts:
        ids += tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) >= math.prod(shape):
            break
    return torch.tensor(ids[: math.prod(shape)]).view(shape)
