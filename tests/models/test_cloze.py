"""Prompts with a blank in the tokens of every kind of tokenizer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers

from kn_thesis.corpora.blanks import CannotExpress
from kn_thesis.errors import UserError
from kn_thesis.models.cloze import Encoded, GapTokenizer
from tests.helpers import tiny_tokenizers as tiny


def sentencepiece():
    """LLaMA's own form: the metaspace tokenizer's merges, but spaces marked by the normalizer."""
    content = json.loads(tiny.metaspace().to_str()) | {"pre_tokenizer": None}
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1, right=0)]
    )
    return tokenizer


BERT, ROBERTA = tiny.wordpiece(), tiny.roberta()
GAPS = {
    "wordpiece": GapTokenizer(BERT, "masked", BERT.token_to_id("[MASK]")),
    "bytes": GapTokenizer(tiny.byte_level(), "causal"),
    "bytes, untrimmed": GapTokenizer(tiny.byte_level(trim=False), "causal"),
    "metaspace": GapTokenizer(tiny.metaspace(), "causal"),
    "sentencepiece": GapTokenizer(sentencepiece(), "causal"),
    "roberta": GapTokenizer(ROBERTA, "masked", ROBERTA.token_to_id("<mask>")),
    "llama3": GapTokenizer(tiny.llama3(), "causal"),
    "qwen": GapTokenizer(tiny.qwen(), "causal"),
}
CAUSAL = [name for name in GAPS if GAPS[name].objective == "causal"]
WORDS = [*sorted({word.strip(".,") for line in tiny.TEXT for word in line.split()}), "kingvase", "Paristhis", "vas"]


def tokens(gaps: GapTokenizer, ids: tuple[int, ...]) -> list[str]:
    return [gaps.tokenizer.id_to_token(i) for i in ids]


def reason(gaps: GapTokenizer, *words: str) -> str:
    with pytest.raises(CannotExpress) as caught:
        gaps.encode(*words)
    return caught.value.reason


def filled(gaps: GapTokenizer, encoded: Encoded) -> list[int]:
    """All tokens with the target in its place."""
    ids, k = list(encoded.input_ids), len(encoded.target_ids)
    if gaps.objective == "masked":
        assert ids[encoded.gap : encoded.gap + k] == [gaps.mask_id] * k
        return ids[: encoded.gap] + list(encoded.target_ids) + ids[encoded.gap + k :]
    assert encoded.gap == len(ids) - 1
    return ids + list(encoded.target_ids)


def test_words_carry_their_space():
    assert tokens(GAPS["bytes"], GAPS["bytes"].encode("The old king admires", "", "this").target_ids) == ["Ġthis"]
    assert tokens(GAPS["metaspace"], GAPS["metaspace"].encode("The old king admires", "", "this").target_ids) == [
        "▁this"
    ]


def test_masked_reads_both_sides():
    encoded = GAPS["wordpiece"].encode("The old king admires", " vase.", "this")
    words = ["[CLS]", "The", "old", "king", "admires", "[MASK]", "vase", ".", "[SEP]"]
    assert tokens(GAPS["wordpiece"], encoded.input_ids) == words
    assert encoded.gap == 5 and tokens(GAPS["wordpiece"], encoded.target_ids) == ["this"]


def test_one_mask_per_token():
    encoded = GAPS["wordpiece"].encode("The women", " helped this man.", "haven't")
    assert tokens(GAPS["wordpiece"], encoded.target_ids) == ["haven", "'", "t"]
    assert tokens(GAPS["wordpiece"], encoded.input_ids).count("[MASK]") == 3


@pytest.mark.parametrize(
    ("prefix", "suffix", "word"),
    [("The old king admires", " vase.", "this"), ("", " kings admire those vases.", "These"), ("The king", ".", "man")],
)
def test_roberta_s_mask_stands_where_the_word_and_its_space_did(prefix, suffix, word):
    """Its own mask takes the space before it: so must a mask that is put in by its number."""
    gaps = GAPS["roberta"]
    encoded = gaps.encode(prefix, suffix, word)
    assert len(encoded.target_ids) == 1
    for written in (f"{prefix} <mask>{suffix}".strip(), f"{prefix}<mask>{suffix}"):
        assert list(encoded.input_ids) == ROBERTA.encode(written).ids
    text = f"{prefix} {word}{suffix}".strip()
    assert tokens(gaps, encoded.input_ids)[0] == "<s>" and tokens(gaps, encoded.input_ids)[-1] == "</s>"
    assert filled(gaps, encoded) == ROBERTA.encode(text).ids
    assert tokens(gaps, encoded.target_ids) == [f"Ġ{word}" if prefix else word]
    for mark in ("___", "<mask>"):
        assert gaps.encode_prompt(f"{prefix} {mark}{suffix}".strip(), word) == encoded


def test_one_mask_per_token_of_roberta_s():
    encoded = GAPS["roberta"].encode("The women", " helped this man.", "haven't")
    assert tokens(GAPS["roberta"], encoded.input_ids).count("<mask>") == len(encoded.target_ids) > 1


def test_llama_3_s_beginning_stays_out_of_the_target():
    gaps = GAPS["llama3"]
    encoded = gaps.encode("The capital of France is", ".", "Paris")
    assert tokens(gaps, encoded.input_ids)[0] == "<|begin_of_text|>"
    assert tokens(gaps, encoded.target_ids)[0].startswith("ĠP") and filled(gaps, encoded)[0] == encoded.input_ids[0]
    assert tokens(gaps, gaps.encode("", " kings", "These").input_ids) == ["<|begin_of_text|>"]
    assert reason(GAPS["qwen"], "", " kings", "These") == "nothing before the gap"


@pytest.mark.parametrize("name", GAPS)
def test_numbers(name):
    """A number has the tokens that the text has for it, also where its space is a token of its own."""
    gaps = GAPS[name]
    if name not in ("wordpiece", "metaspace", "sentencepiece"):  # these know no digit
        encoded = gaps.encode("In 1984 the old king of 12 admires", " vase.", "this")
        text = "In 1984 the old king of 12 admires this" + (" vase." if gaps.objective == "masked" else "")
        assert filled(gaps, encoded) == gaps.tokenizer.encode(text).ids
        encoded = gaps.encode("The king of", ".", "1984")
        text = "The king of 1984" + ("." if gaps.objective == "masked" else "")
        assert filled(gaps, encoded) == gaps.tokenizer.encode(text).ids
        assert gaps.tokenizer.decode(list(encoded.target_ids)) == " 1984"
    if name in ("llama3", "qwen"):
        assert tokens(gaps, encoded.target_ids)[:2] == ["Ġ", "1"]


@pytest.mark.parametrize("name", ["roberta", "llama3", "qwen"])
def test_letters_of_several_bytes(name):
    encoded = GAPS[name].encode("The capital of France is", ".", "París")
    assert GAPS[name].tokenizer.decode(list(encoded.target_ids)).strip() == "París"


@pytest.mark.parametrize("name", ["metaspace", "sentencepiece"])
def test_beginning_stays_out_of_the_target(name):
    gaps = GAPS[name]
    encoded = gaps.encode("The capital of France is", ".", "Paris")
    assert tokens(gaps, encoded.input_ids)[0] == "<s>"
    assert "<s>" not in tokens(gaps, encoded.target_ids) and "▁" not in tokens(gaps, encoded.target_ids)
    assert tokens(gaps, encoded.target_ids)[0].startswith("▁")


def test_causal_sees_no_suffix():
    for name in CAUSAL:
        assert GAPS[name].encode("The capital of", " is Paris.", "France") == GAPS[name].encode(
            "The capital of", "", "France"
        )


def test_empty_prefix():
    for name in ("metaspace", "sentencepiece"):
        encoded = GAPS[name].encode("", " kings", "These")
        assert tokens(GAPS[name], encoded.input_ids) == ["<s>"] and encoded.gap == 0
        assert tokens(GAPS[name], encoded.target_ids)[0].startswith("▁")
    assert reason(GAPS["bytes"], "", " kings", "These") == "nothing before the gap"
    assert GAPS["wordpiece"].encode("", " kings", "These").gap == 1


@pytest.mark.parametrize("name", GAPS)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), max_size=8), st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), max_size=4)
)
def test_filled_gap_is_the_text_as_the_tokenizer_reads_it(name, before, word, after):
    """Reference: encode the whole text, and put the target's tokens into the blank."""
    gaps = GAPS[name]
    prefix, suffix = " ".join(before), "".join(f" {w}" for w in after) + "."
    try:
        encoded = gaps.encode(prefix, suffix, word)
    except CannotExpress as error:
        assert error.reason == "nothing before the gap" and not before
        return
    text = " ".join([*before, word]) + (suffix if gaps.objective == "masked" else "")
    assert filled(gaps, encoded) == gaps.tokenizer.encode(text).ids
    if before:
        alone = gaps.tokenizer.encode(prefix).ids
        assert list(encoded.input_ids[: encoded.gap]) == (alone[:-1])  # [SEP] or the last token itself
    assert gaps.tokenizer.decode(list(encoded.target_ids)).replace(" ", "") == word


@pytest.mark.parametrize("name", ["wordpiece", "metaspace", "sentencepiece"])
def test_unknown_words(name):
    assert reason(GAPS[name], "The old king admires", ".", "žluť") == "unknown word"
    assert reason(GAPS[name], "The old ž admires", ".", "this") == "unknown word around the gap"


def test_dropped_characters_are_unknown():
    """A byte-pair tokenizer without an unknown token leaves out what it does not know, without a word."""
    tokenizer = tiny.metaspace()
    content = json.loads(tokenizer.to_str())
    content["model"]["unk_token"] = None
    gaps = GapTokenizer(Tokenizer.from_str(json.dumps(content)), "causal")
    assert reason(gaps, "The old ž admires", "", "this") == "unknown word"
    assert reason(gaps, "The old king admires", "", "žthis") == "unknown word"


def test_merges_across_the_gap():
    gaps = GapTokenizer(tiny.llama(), "causal")
    assert any(" " in token.strip("▁").replace("▁", " ") for token in gaps.tokenizer.get_vocab())
    assert reason(gaps, "The capital of France is", ".", "Paris") == "tokens merge across the gap"


def test_lone_space():
    gaps = GapTokenizer(tiny.byte_level(["aa bb"] * 5, vocabulary=258), "causal")
    encoded = gaps.encode("zz", "", "qq")
    assert (tokens(gaps, encoded.input_ids), tokens(gaps, encoded.target_ids)) == (["z", "z"], ["Ġ", "q", "q"])


def test_lower_case_tokenizer():
    tokenizer = tiny.wordpiece()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    gaps = GapTokenizer(tokenizer, "masked", tokenizer.token_to_id("[MASK]"))
    assert tokens(gaps, gaps.encode("the king admires", " vase.", "This").target_ids) == ["this"]


def test_nothing_for_the_gap():
    for word in ("", " ", "\n"):
        assert reason(GAPS["bytes"], "The", "", word) == "no word for the gap"
    for word in (" this", "this ", " this\n"):
        assert GAPS["bytes"].encode("The", "", word) == GAPS["bytes"].encode("The", "", "this")


def test_too_long():
    gaps = GapTokenizer(GAPS["bytes"].tokenizer, "causal", max_length=6)
    assert gaps.encode("The capital of France is", "", "Paris").gap == 4
    assert reason(gaps, "The capital of France is", "", "kingvase") == "prompt is too long"


def test_prompts_as_text():
    masked, causal = GAPS["wordpiece"], GAPS["bytes"]
    expected = masked.encode("The old king admires", " vase.", "this")
    assert masked.encode_prompt("The old king admires ___ vase.", "this") == expected
    assert masked.encode_prompt("The old king admires [MASK] vase.", "this") == expected
    at_end = causal.encode("The capital of France is", "", "Paris")
    for text in ("The capital of France is", "The capital of France is ", "The capital of France is ___."):
        assert causal.encode_prompt(text, "Paris") == at_end
    for gaps, text, why in [
        (masked, "The old king", "no gap"),
        (masked, "The ___ king ___", "more than one gap"),
        (masked, "The ___ king [MASK]", "more than one gap"),
        (masked, "The old___", "gap is inside a word"),
        (causal, "The ___ king", "gap is not at the end"),
    ]:
        with pytest.raises(CannotExpress, match=why):
            gaps.encode_prompt(text, "old")


def test_folders(tmp_path):
    bert = GapTokenizer.from_folder(tiny.save_model(tmp_path / "b", BERT, "bert", max_position_embeddings=40))
    assert bert.objective == "masked" and bert.mask_id == BERT.token_to_id("[MASK]") and bert.max_length == 40
    gpt2 = GapTokenizer.from_folder(tiny.save_model(tmp_path / "g", tiny.byte_level(), "gpt2", n_positions=30))
    assert (gpt2.objective, gpt2.mask_id, gpt2.max_length) == ("causal", None, 30)
    roberta = tiny.save_model(
        tmp_path / "r", ROBERTA, "roberta", max_position_embeddings=514, pad_token_id=ROBERTA.token_to_id("<pad>")
    )
    gaps = GapTokenizer.from_folder(roberta)
    assert (gaps.objective, gaps.mask_id, gaps.max_length) == ("masked", ROBERTA.token_to_id("<mask>"), 512)
    assert gaps.encode("The old", " vase.", "king") == GAPS["roberta"].encode("The old", " vase.", "king")
    mistral = tiny.save_model(
        tmp_path / "m", tiny.metaspace(), "mistral", max_position_embeddings=32768, sliding_window=4096
    )
    assert GapTokenizer.from_folder(mistral).max_length == 4096
    llama = GapTokenizer.from_folder(tiny.save_model(tmp_path / "l", tiny.metaspace(), "llama"))
    assert (llama.objective, llama.max_length) == ("causal", None)
    assert bert.encode("The old", " vase.", "king") == GAPS["wordpiece"].encode("The old", " vase.", "king")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("tokenizer.json", None, "no such file"),
        ("tokenizer.json", "{}", "no tokenizer can be read"),
        ("tokenizer_config.json", "{", "not JSON"),
        ("model.json", "{}", "names the model's family"),
    ],
)
def test_broken_folders(tmp_path, file, content, says):
    folder = tiny.save_model(tmp_path / "m", BERT, "bert")
    (folder / "config.json").unlink()
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        GapTokenizer.from_folder(folder)
    assert "\n" not in str(caught.value)
