"""Small tokenizers of each kind, trained on a few sentences, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT = [
    "The old king admires this vase.",
    "These kings admire those vases.",
    "The capital of France is Paris.",
    "The capital of Italy is Rome.",
    "The women haven't helped themselves, but this man has helped himself.",
] * 20


def wordpiece(text: Iterable[str] = TEXT, vocabulary: int = 300) -> Tokenizer:
    """As BERT's, with case."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        text, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    return tokenizer


def byte_level(text: Iterable[str] = TEXT, vocabulary: int = 420, trim: bool = True) -> Tokenizer:
    """As GPT-2's: no token for the beginning."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<|endoftext|>"], initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


def roberta(text: Iterable[str] = TEXT, vocabulary: int = 420) -> Tokenizer:
    """As RoBERTa's: GPT-2's between <s> and </s>, and a <mask> that takes the space before it."""
    tokenizer = byte_level(text, vocabulary)
    content = json.loads(tokenizer.to_str())
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [token for token in content["model"]["vocab"] if token != "<|endoftext|>"]
    content["model"]["vocab"] = {token: number for number, token in enumerate([*special, *pieces])}
    content["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(content | {"post_processor": None}))
    tokenizer.add_special_tokens([*special, AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")), add_prefix_space=False
    )
    return tokenizer


def llama3(text: Iterable[str] = TEXT, vocabulary: int = 420) -> Tokenizer:
    """As Llama 3's: bytes, a number's digits by threes without their space, a token for the beginning."""
    return _split_bytes(text, vocabulary, r"\p{N}{1,3}", "<|begin_of_text|>")


def qwen(text: Iterable[str] = TEXT, vocabulary: int = 420) -> Tokenizer:
    """As Qwen 2.5's: bytes, each digit by itself, composed characters, nothing for the beginning."""
    tokenizer = _split_bytes(text, vocabulary, r"\p{N}", "")
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _split_bytes(text: Iterable[str], vocabulary: int, numbers: str, first: str) -> Tokenizer:
    tokenizer = byte_level(text, vocabulary)
    words = (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    if first:
        tokenizer.add_special_tokens([first])
        template = processors.TemplateProcessing(
            single=f"{first} $A", pair=f"{first} $A {first} $B", special_tokens=[(first, tokenizer.token_to_id(first))]
        )
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    return tokenizer


def metaspace(text: Iterable[str] = TEXT, vocabulary: int = 300) -> Tokenizer:
    """As SentencePiece's BPE, spaces marked by the pre-tokenizer; unknown characters are <unk>."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return _with_bos(tokenizer, text, vocabulary)


def llama(text: Iterable[str] = TEXT, vocabulary: int = 300) -> Tokenizer:
    """As LLaMA's file says it: spaces marked by the normalizer, nothing splits the text, so tokens may span words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1, right=0)]
    )
    return _with_bos(tokenizer, text, vocabulary)


def _with_bos(tokenizer: Tokenizer, text: Iterable[str], vocabulary: int) -> Tokenizer:
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def save_model(folder: Path, tokenizer: Tokenizer, family: str, **config: object) -> Path:
    """A model's folder as far as prompts need it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {name: {"mask_token": token} for name, token in (("bert", "[MASK]"), ("roberta", "<mask>"))}.get(
        family, {}
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": int(1e30)}))
    (folder / "model.json").write_text(json.dumps({"family": family}))
    (folder / "config.json").write_text(json.dumps({"model_type": family, **config}))
    return folder
