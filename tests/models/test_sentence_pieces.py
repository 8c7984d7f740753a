"""Tokenizers that come as SentencePiece's tokenizer.model alone: read as SentencePiece reads them, or refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from kn_thesis import load_model
from kn_thesis.errors import UserError
from kn_thesis.models.evaluate import target_log_probabilities
from kn_thesis.models.folder import fast_tokenizer
from kn_thesis.models.sources import record_path_model
from tests.helpers.tiny_models import model_of
from tests.helpers.tiny_tokenizers import TEXT

LLAMA: dict[str, Any] = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"}
SPLIT = [
    "The old king admires this vase.",
    "These kings,  (haven't) helped 1998 women!",
    "Straße é 首都 ½ \t x",
]


def trained(folder: Path, **changes: Any) -> Any:
    """SentencePiece's own reader of a tokenizer.model, made as LLaMA's was and written to a folder."""
    library = pytest.importorskip(
        "sentencepiece", reason="sentencepiece is not installed: envs/requirements.txt has it"
    )
    pytest.importorskip("google.protobuf", reason="protobuf is not installed: envs/requirements.txt has it")
    as_llama = {
        **{"model_type": "bpe", "byte_fallback": True, "split_digits": True, "normalization_rule_name": "identity"},
        **{"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "character_coverage": 1.0},
        **{"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
    }
    folder.mkdir(parents=True, exist_ok=True)
    library.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXT, *["In 1998 it was é."] * 9]),
        model_prefix=str(folder / "tokenizer"),
        **{"vocab_size": 360, "hard_vocab_limit": False, "minloglevel": 2} | as_llama | changes,
    )
    (folder / "tokenizer.vocab").unlink()
    return library.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def model_folder(folder: Path, family: str, settings: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A random model whose tokenizer is tokenizer.model alone; SentencePiece's own reader of that."""
    pieces = trained(folder, **changes)
    model_of(family, vocab_size=len(pieces), pad_token_id=None).module.to(torch.float32).save_pretrained(folder)
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return pieces


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize(
    ("settings", "begins"),
    [(None, True), (LLAMA, True), (LLAMA | {"add_bos_token": True}, True), (LLAMA | {"add_bos_token": False}, False)],
    ids=["no settings", "usual", "with <s>", "without"],
)
def test_a_folder_with_tokenizer_model_alone_just_loads(
    family: str, settings: dict[str, Any] | None, begins: bool, tmp_path: Path
) -> None:
    pieces = model_folder(tmp_path / "model", family, settings)
    record_path_model(tmp_path / "model", family, tmp_path / "recorded")
    for folder in (tmp_path / "model", tmp_path / "recorded"):
        model = load_model(folder, device="cpu")
        for text in SPLIT:
            right = [pieces.bos_id()] * begins + pieces.encode(text)
            assert model.tokenizer.tokenizer.encode(text).ids == right
        one = model.tokenizer.encode_prompt("The old king", "admires")
        right = [pieces.bos_id()] * begins + pieces.encode("The old king admires")
        assert [*one.input_ids, *one.target_ids] == right
        with torch.no_grad():
            logits = model.module(torch.tensor([right])).logits[0].log_softmax(-1)
        wanted = sum(float(logits[n - 1, right[n]]) for n in range(len(one.input_ids), len(right)))
        assert target_log_probabilities(model, [one]).log_probability[0] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "changes", [{"model_type": "unigram"}, {"normalization_rule_name": "nmt_nfkc"}], ids=["unigram", "normalized"]
)
def test_a_tokenizer_that_is_converted_wrong_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    model_folder(tmp_path / "model", "llama", LLAMA, **changes)
    with pytest.raises(UserError, match="does not split texts as SentencePiece does") as error:
        load_model(tmp_path / "model", device="cpu")
    assert "\n" not in str(error.value) and str(tmp_path / "model") in str(error.value)


@pytest.mark.parametrize("content", [b"", b"IQ== 0\nIg== 1\n", b"\0" * 100], ids=["empty", "tiktoken", "zeros"])
def test_a_tokenizer_model_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    trained(tmp_path / "unused")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(content)
    with pytest.raises(
        UserError, match=r"tokenizer\.model of the model is damaged, or not a SentencePiece model"
    ) as error:
        fast_tokenizer(folder, "the model", tmp_path / "made")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("package", ["sentencepiece", "google.protobuf"])
def test_what_is_missing_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "tokenizer.model").write_bytes(b"anything")
    with pytest.raises(UserError, match="the packages sentencepiece and protobuf") as error:
        fast_tokenizer(tmp_path, "the model", tmp_path / "made")
    assert "\n" not in str(error.value) and "tiktoken" not in str(error.value)


@pytest.mark.parametrize("value", [..., None, ""], ids=["absent", "null", "empty"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_configuration_without_a_family_says_what_to_write(
    value: Any, recorded: bool, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_models["gpt2"], tmp_path / "model"))
    config = {**json.loads((folder / "config.json").read_text()), "model_type": value}
    (folder / "config.json").write_text(json.dumps({key: entry for key, entry in config.items() if entry is not ...}))
    said = r'config\.json of .* lacks model_type, .*: write "model_type": "gpt2" into it'
    with pytest.raises(UserError, match=said if recorded else r'lacks model_type, .*: write "model_type": "') as error:
        if recorded:
            record_path_model(folder, "gpt2", tmp_path / "out")
        else:
            load_model(folder, device="cpu")
    assert "\n" not in str(error.value) and "set `family`" not in str(error.value)
