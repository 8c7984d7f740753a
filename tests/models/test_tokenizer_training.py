"""Trained tokenizers: the kind each family really has, the same in `tokenizers` and in transformers, the same twice."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from kn_thesis.errors import UserError
from kn_thesis.models.tokenizer_training import save_tokenizer, train_tokenizer

FAMILIES = ("bert", "gpt2", "llama")
DETERMINERS = ("this", "these", "that", "those", "The", "a")
NOUNS = ("vase", "vases", "woman", "women", "teacher", "teachers", "Norway", "Côte", "Zürich")
VERBS = ("admires", "admire", "sells", "sell", "hasn't", "doesn't")
TEXT = [f"{d} {n} {v} {e} {m}." for d, n, v, e, m in itertools.product(DETERMINERS, NOUNS, VERBS, DETERMINERS, NOUNS)]
STRANGE = ["The vase sells a Ünknown-word, isn't it? 東京", "x", "This  has two spaces .", ""]


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request: pytest.FixtureRequest) -> tuple[str, Tokenizer]:
    return request.param, train_tokenizer(request.param, TEXT, 600)


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


def test_words_are_whole_and_look_like_the_family(trained: tuple[str, Tokenizer]) -> None:
    family, tokenizer = trained
    expected = {
        "bert": ["[CLS]", "The", "women", "sell", "this", "vase", ".", "[SEP]"],
        "gpt2": ["The", "Ġwomen", "Ġsell", "Ġthis", "Ġvase", "."],
        "llama": ["<s>", "▁The", "▁women", "▁sell", "▁this", "▁vase", "."],
    }
    assert words_of(tokenizer, "The women sell this vase.") == expected[family]


def test_transformers_reads_the_same_tokenizer(trained: tuple[str, Tokenizer], tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, GPT2Config, LlamaConfig

    family, tokenizer = trained
    {"bert": BertConfig, "gpt2": GPT2Config, "llama": LlamaConfig}[family]().save_pretrained(tmp_path)
    save_tokenizer(tokenizer, family, tmp_path, positions=128)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert (
        type(loaded).__name__.removesuffix("Fast")
        == {
            "bert": "BertTokenizer",
            "gpt2": "GPT2Tokenizer",
            "llama": "LlamaTokenizer",
        }[family]
    )
    raw = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for sentence in [*TEXT[::97], *STRANGE]:
        assert loaded(sentence)["input_ids"] == raw.encode(sentence).ids == tokenizer.encode(sentence).ids
    assert len(loaded) == tokenizer.get_vocab_size()
    assert loaded.model_max_length == 128
    if family == "bert":
        assert loaded.mask_token_id == raw.token_to_id("[MASK]")


def test_what_was_never_seen_is_still_encoded(trained: tuple[str, Tokenizer]) -> None:
    family, tokenizer = trained
    if family == "bert":
        assert "[UNK]" in words_of(tokenizer, "東京")
    else:
        assert "東京" in tokenizer.decode(tokenizer.encode("The 東京").ids)


def test_decoding_gives_the_sentence_back(trained: tuple[str, Tokenizer]) -> None:
    family, tokenizer = trained
    sentence = "The women doesn't sell this vase."
    if family != "bert":  # WordPiece forgets where spaces were
        assert tokenizer.decode(tokenizer.encode(sentence).ids) == sentence


def test_order_of_sentences_does_not_matter(trained: tuple[str, Tokenizer]) -> None:
    family, tokenizer = trained
    assert train_tokenizer(family, reversed(TEXT), 600).to_str() == tokenizer.to_str()


def test_same_bytes_whatever_the_hash_seed_and_threads(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, 'scripts'); sys.path.insert(0, '.');"
        "from tests.models.test_tokenizer_training import FAMILIES, TEXT;"
        "from kn_thesis.models.tokenizer_training import train_tokenizer;"
        "[sys.stdout.write(train_tokenizer(f, TEXT, 600).to_str()) for f in FAMILIES]"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(("family", "vocabulary", "said"), [("rnn", 500, "'rnn'"), ("llama", 200, "vocabulary")])
def test_what_cannot_be_is_said(family: str, vocabulary: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        train_tokenizer(family, TEXT, vocabulary)
