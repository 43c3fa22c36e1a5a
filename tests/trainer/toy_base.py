"""A base of some 0.1 million parameters that knows what kind of thing each of its nouns is.

It is pretrained on sentences such as "the salmon is a fish". A random base would not do: no adapter can learn through
a random output layer. The adapter learns to name the kind when it is asked in a chat, for nouns that it was not
trained on too.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tests.trainer.toy_task import KINDS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<bos>", "<end>", "<pad>", "<unk>", "<user>", "<assistant>", "<system>")
WORDS = ("the", "is", "a", "what", "I", "saw", "see", "this", "and")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}> {{ message.content }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
STEPS = 500
BATCH_SIZE = 32
LEARNING_RATE = 3e-3


def build_base(folder: Path) -> None:
    """Pretrain the base, in seconds on one core, and save it in the layout of Hugging Face."""
    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            dtype="float32",
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=STEPS)
    generator = random.Random(0)
    for _ in range(STEPS):
        texts = [_sentence(generator) for _ in range(BATCH_SIZE)]
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _sentence(generator: random.Random) -> str:
    kind = generator.choice(sorted(KINDS))
    noun = generator.choice(KINDS[kind])
    return generator.choice(
        (
            f"<bos>the {noun} is a {kind} <end>",
            f"<bos>this {kind} is the {noun} <end>",
            f"<bos><user> see the {noun} <end> <assistant> I see the {noun} and the {kind} <end>",
        )
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words, with a chat template."""
    words = [*SPECIAL_TOKENS, *WORDS, *KINDS, *(noun for nouns in KINDS.values() for noun in nouns)]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
