"""Train tokenizers of the real kinds of BERT, GPT-2 and LLaMA on any text.

BERT's is WordPiece with continuation pieces (##s). GPT-2's is a byte-level BPE whose tokens include the space before
them (Ġthis). LLaMA's is a BPE like SentencePiece's, whose tokens include a metaspace (▁this) and whose encodings begin
with <s>.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file, write_json

BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
# tokenizer_config.json of each family
SETTINGS: dict[str, dict[str, Any]] = {
    "bert": {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "strip_accents": False,
        "tokenize_chinese_chars": True,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "gpt2": {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    },
    "llama": {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    },
}


def train_tokenizer(family: str, sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a tokenizer; the same sentences give the same one, in any order.

    Args:
        family: "bert", "gpt2" or "llama".
        sentences: The text.
        vocabulary: Maximum number of tokens, special tokens included. A small text yields fewer.

    Raises:
        UserError: The family is unknown, or `vocabulary` is too small for its special tokens and alphabet.
    """
    kinds = {"bert": _wordpiece, "gpt2": _byte_level_bpe, "llama": _metaspace_bpe}
    if family not in kinds:
        raise UserError(f"no tokenizer is known for the family '{family}'; known: {', '.join(kinds)}")
    tokenizer = kinds[family](sentences, vocabulary)
    if tokenizer.get_vocab_size() > vocabulary:
        raise UserError(
            f"a vocabulary of {vocabulary} is too small for the family '{family}': special tokens and single"
            f" characters alone take {tokenizer.get_vocab_size()}; set `vocabulary` higher"
        )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, family: str, folder: str | Path, positions: int) -> None:
    """Write tokenizer.json and tokenizer_config.json, from which transformers' AutoTokenizer reads the same tokenizer.

    Args:
        tokenizer: From `train_tokenizer`.
        family: Its family.
        folder: Gets the two files.
        positions: Maximum number of tokens in the model's input.
    """
    folder = Path(folder)
    with whole_file(folder / "tokenizer.json") as path:
        path.write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    settings = {"model_max_length": positions} | SETTINGS[family]
    write_json(folder / "tokenizer_config.json", settings, sort_keys=True, ensure_ascii=False)


def _wordpiece(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    sentences = list(sentences)
    characters = sorted(set().union(*sentences))
    # The trainer numbers continuation pieces in the order in which it meets words, which differs from run to run, and
    # breaks ties by these numbers. Listing the one-letter pieces first makes the vocabulary the same every time.
    letters = [piece for x in characters if not x.isspace() for piece in (f"##{x}", x)]
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special + letters, show_progress=False)
    learner.train_from_iterator(sentences, trainer)
    tokenizer = Tokenizer(models.WordPiece(vocab=learner.get_vocab(), unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = learner.normalizer
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", first), ("[SEP]", last)],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _byte_level_bpe(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _metaspace_bpe(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    # As in SentencePiece, merges are learned within words, never across letters and punctuation. In use the whole text
    # is one piece, as in LLaMA's own tokenizer; without merges across words the result is the same.
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(r"▁?[^\s\w▁]|▁?[\w]+|▁"), behavior="isolated"),
        ]
    )
    special = ["<unk>", "<s>", "</s>"]
    size = max(vocabulary - len(special) - len(BYTE_TOKENS), 1)
    learner.train_from_iterator(sentences, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    vocab = {token: number for number, token in enumerate([*special, *BYTE_TOKENS, *pieces])}
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s>:0 $A:0", pair="<s>:0 $A:0 <s>:1 $B:1", special_tokens=[("<s>", vocab["<s>"])]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer
