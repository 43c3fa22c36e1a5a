"""The tokens of an answer are the same whether the tokenizer is asked where they begin, or their bytes tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from graft_trainer.data.chat_template import ChatTemplate
from graft_trainer.data.encoding import PATIENCE, Encoder, TokenBytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORDS = [
    "Paris ist schön",
    "the capital of France",
    "ein Éclair für 3 €",
    "日本語 der 😀",
    "<|im_end|>\n<|im_start|>user\n",
]
TRAINED_ON = [*WORDS, *(" ".join((one, other)) for one in WORDS for other in WORDS)] * 3
SPECIAL = ["<|im_start|>", "<|im_end|>"]

pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [*WORDS, " ", "\n", "\n\n", "  ", "▁", "e\u0301", "é", "😀", "\u00a0", "Ġ", "<0x0A>", *SPECIAL]
        ),
        st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xEFFFF), max_size=6),
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """A text, and spans of it from one edge to another, which are mostly those of words and marks."""
    parts = draw(pieces)
    text = "".join(parts)
    ends = [len("".join(parts[:number])) for number in range(len(parts) + 1)]
    edges = sorted(draw(st.lists(st.sampled_from(ends) | st.integers(0, len(text)), min_size=2, max_size=6)))
    return text, list(zip(edges[: len(edges) // 2 * 2 : 2], edges[1::2], strict=True))


def fast(backend: Tokenizer) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|im_end|>")


def by_bytes(*, trims: bool, composes: bool = False) -> PreTrainedTokenizerFast:
    """GPT-2's way, where tokens' spans may leave the spaces before words out, and Qwen's, which composes letters."""
    backend = Tokenizer(models.BPE())
    if composes:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trims)
    backend.post_processor = processors.ByteLevel(trim_offsets=trims)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TRAINED_ON, trainer)
    return fast(backend)


def by_spaces(*, begins_with_space: bool, has_bytes: bool = True) -> PreTrainedTokenizerFast:
    """SentencePiece's way, as Gemma has it, or with a space before everything, as Llama 2 has it."""
    replace = normalizers.Replace(" ", "▁")
    normalizer: Any = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if begins_with_space else replace
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = normalizer
    unknown = [f"<0x{byte:02X}>" for byte in range(256)] if has_bytes else []
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", *unknown], limit_alphabet=30, show_progress=False
    )
    learner.train_from_iterator(TRAINED_ON, trainer)
    model: Any = Tokenizer.from_str(learner.to_str()).model
    model.byte_fallback = has_bytes
    backend = Tokenizer(model)
    backend.normalizer = normalizer
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens(SPECIAL)
    return fast(backend)


def of_words() -> PreTrainedTokenizerFast:
    """BERT's way: no spaces, no capitals."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        TRAINED_ON, trainers.WordPieceTrainer(special_tokens=["[UNK]", *SPECIAL], show_progress=False)
    )
    return fast(backend)


def with_greedy_marks() -> PreTrainedTokenizerFast:
    """Phi-3's way: marks take the spaces beside them."""
    tokenizer = by_bytes(trims=True)
    backend: Any = tokenizer.backend_tokenizer
    backend.add_special_tokens([AddedToken("<|im_end|>", rstrip=True), AddedToken("<|im_start|>", lstrip=True)])
    return tokenizer


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": lambda: by_bytes(trims=False),
    "bytes, spaces trimmed": lambda: by_bytes(trims=True),
    "bytes, composed": lambda: by_bytes(trims=False, composes=True),
    "spaces": lambda: by_spaces(begins_with_space=False),
    "spaces, unknown letters": lambda: by_spaces(begins_with_space=False, has_bytes=False),
    "a space first": lambda: by_spaces(begins_with_space=True),
    "words": of_words,
    "greedy marks": with_greedy_marks,
}
TOLD = ("bytes", "bytes, spaces trimmed", "bytes, composed", "spaces")
"""Kinds of which bytes tell where tokens are."""


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {kind: make() for kind, make in KINDS.items()}


def encoder_of(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer, ChatTemplate(tokenizer))


@settings(deadline=None, max_examples=300)
@given(several=st.lists(texts(), min_size=1, max_size=4))
def test_bytes_tell_what_the_tokenizer_does(
    tokenizers: dict[str, PreTrainedTokenizerFast], several: list[tuple[str, list[tuple[int, int]]]]
) -> None:
    """Of every kind: to make up a text takes longer than to encode it."""
    found = {kind: encoder_of(tokenizer).encode(several) for kind, tokenizer in tokenizers.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenBytes, "of", lambda tokenizer: None)
        asked = {kind: encoder_of(tokenizer).encode(several) for kind, tokenizer in tokenizers.items()}
    for kind in KINDS:
        assert asked[kind] == found[kind], kind


@pytest.mark.parametrize("kind", TOLD)
def test_the_tokenizer_is_not_asked_where_tokens_begin(kind: str) -> None:
    tokenizer = KINDS[kind]()
    told = TokenBytes.of(tokenizer)
    assert told is not None
    text = "<|im_start|>user\nDer Éclair?<|im_end|>\n<|im_start|>assistant\nschön 日本語 😀<|im_end|>\n"
    start = text.index("schön")
    (encoded,) = encoder_of(tokenizer).encode([(text, [(start, len(text))])])
    assert told.spans(text, [(start, len(text))], encoded.ids) == encoded.spans
    ((begin, end),) = encoded.spans
    assert tokenizer.decode(encoded.ids[begin:end].tolist(), skip_special_tokens=False).strip() == text[start:].strip()


def test_a_tokenizer_whose_bytes_tell_nothing_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(with_greedy_marks())
    tried = 0

    def nothing(*_: Any) -> None:
        nonlocal tried
        tried += 1

    monkeypatch.setattr(TokenBytes, "spans", nothing)
    for _ in range(10):
        encoder.encode([("Paris<|im_end|> ", [(0, 5)])] * 5)
    assert PATIENCE < tried <= PATIENCE + 5
