"""What is scored is the text as it is given: against plain transformers, which read and score the whole text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import kn_thesis
from kn_thesis.corpora.blanks import CannotExpress
from kn_thesis.editing.api import Edited
from kn_thesis.editing.generation import write_contexts
from kn_thesis.errors import UserError
from kn_thesis.models.cloze import GapTokenizer
from kn_thesis.models.load import Model
from tests.helpers import tiny_tokenizers as tiny
from tests.helpers.tiny_models import loaded_model

# What stands before the blank, the word, what follows it.
GLUED = [
    ('The capital of Italy is called "', "Rome", '".'),
    ("The capital of Italy (", "Rome", ")."),
    ("Le soleil de l'", "Italie", "."),
    ("加拿大的首都是", "渥太华", "。"),
    ("カナダの首都は", "オタワ", "。"),
    ("เมืองคือ", "ออต", ""),
    ("Q: The capital of Italy?\nA:\n", "Rome", "."),
    ("Italy\t", "Rome", "."),
]
SPACED = [("The capital of Italy is ", "Rome", "."), ("The war ended in ", "1945", "."), ("1 2 3 ", "45", ".")]
# Marks, and characters of scripts without spaces, by themselves: no token that is learned from it crosses a blank.
WORDS = re.compile(r"[a-zA-Z]+|[0-9]|\S|[\n\t]")
TEXT = [" ".join(WORDS.findall("".join(parts))) for parts in [*GLUED, *SPACED, ("Canada Ottawa",)]] * 10


def unigram() -> Tokenizer:
    """As T5's and XLNet's: pieces by their probability, behind a token for the beginning."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


# The model's family, and a tokenizer of another kind than its family's.
KINDS: dict[str, tuple[str, Callable[[], Tokenizer] | None]] = {
    "bytes": ("gpt2", None),
    "metaspace": ("llama", None),
    "wordpiece": ("bert", None),
    "masked bytes": ("roberta", None),
    "unigram": ("llama", unigram),
    "digits apart": ("gpt2", lambda: tiny.qwen(TEXT, 500)),
    "digits by threes": ("gpt2", lambda: tiny.llama3(TEXT, 500)),
}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    families: dict[str, Model] = {}

    def get(kind: str) -> Model:
        family, other = KINDS[kind]
        if family not in families:
            folder = tmp_path_factory.mktemp(family)
            more = {"vocab_size": 400} if family == "gpt2" else {}  # room for the other kinds' tokens
            families[family] = loaded_model(family, folder, TEXT, positions=120, **more)
        model = families[family]
        return replace(model, tokenizer=replace(model.tokenizer, tokenizer=other())) if other else model

    return get


def plain(model: Model, before: str, word: str, after: str, special: bool = True) -> float:
    """P(word) by the whole text's own tokens: all behind those of the text before the word, one by one."""
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(model.tokenizer.tokenizer.to_str()))
    masked = model.adapter.objective == "masked"
    read = fast(before + word + (after if masked else ""), add_special_tokens=special, return_offsets_mapping=True)
    ids, found = read["input_ids"], 0.0
    stop = next((n for n, (a, _) in enumerate(read["offset_mapping"]) if a >= len(before + word)), len(ids))
    known = fast(before.removesuffix(" "), add_special_tokens=special)["input_ids"]
    known = known[:-1] if masked and special else known  # without the token for the end
    assert ids[: len(known)] == known
    if masked and special and not after:
        stop = len(ids) - 1
    for place in range(len(known), stop):
        seen = [*ids[:place], *[model.tokenizer.mask_id] * (stop - place), *ids[stop:]] if masked else ids[:place]
        with torch.no_grad():
            logits = model.module(torch.tensor([seen])).logits[0, place if masked else place - 1]
        found += float(logits.log_softmax(-1)[ids[place]])
    return math.exp(found)


def said(model: Model, prompt: str, word: str) -> float:
    [row] = kn_thesis.suppress(model, [prompt], [(0, 1)], [word]).itertuples()
    assert row.reason == ""
    return float(row.before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "word", "after"), GLUED + SPACED)
def test_the_text_as_given_is_scored(
    model_of: Callable[[str], Model], kind: str, before: str, word: str, after: str
) -> None:
    model = model_of(kind)
    masked = model.adapter.objective == "masked"
    expected = pytest.approx(plain(model, before, word, after), rel=1e-9)
    spellings = [f"{before}___{after}", f"{before}_____{after}"]
    spellings += [f"{before}{model.tokenizer.tokenizer.id_to_token(model.tokenizer.mask_id)}{after}"] if masked else []
    spellings += [] if masked else [before]
    assert {prompt: said(model, prompt, word) for prompt in spellings} == dict.fromkeys(spellings, expected)
    assert said(model, spellings[0], f" {word} ") == expected
    encoded = model.tokenizer.encode_prompt(spellings[0], word)
    whole = model.tokenizer.tokenizer.encode(before + word + (after if masked else "")).ids
    ids, gap, target = encoded.input_ids, encoded.gap, encoded.target_ids
    assert (*ids[: gap + (not masked)], *target, *ids[gap + len(target) :][: len(ids) * masked]) == tuple(whole)


@pytest.mark.parametrize("kind", ["bytes", "metaspace", "unigram", "digits apart"])
def test_a_text_that_ends_at_its_gap_needs_no_space(model_of: Callable[[str], Model], kind: str) -> None:
    model = model_of(kind)
    for before, word, _ in SPACED:
        assert said(model, before.rstrip(), word) == pytest.approx(plain(model, before, word, ""), rel=1e-9)


def test_a_space_that_is_a_token_of_its_own_is_the_number_s(model_of: Callable[[str], Model]) -> None:
    for kind in ("digits apart", "digits by threes"):
        tokenizer = model_of(kind).tokenizer
        ids = tokenizer.encode_prompt("The war ended in", "1945").target_ids
        assert tokenizer.tokenizer.id_to_token(ids[0]) == "Ġ" and len(ids) > 2
        assert tokenizer.encode_prompt("The war ended in", " 1945") == tokenizer.encode_prompt(
            "The war ended in", "1945"
        )


def test_a_word_that_changes_the_tokens_before_it_is_refused() -> None:
    """GPT-2's reads two line breaks as one token at a text's end, and as two before a word."""
    gaps = GapTokenizer(tiny.byte_level(["a\n\n\n\nb\n\n"] * 50, 300), "causal")
    assert len(gaps.tokenizer.encode("a\n\n").ids) == 2 and len(gaps.tokenizer.encode("a\n\nb").ids) == 4
    with pytest.raises(CannotExpress, match=r"^tokens before the gap depend on the word$"):
        gaps.encode_prompt("a\n\n", "b")


def test_a_word_that_goes_on_into_the_suffix_is_refused() -> None:
    """Without spaces, what follows decides where the word's tokens end, although a causal model does not read it."""
    gaps = GapTokenizer(tiny.byte_level(["他", "昨天", "来了"] * 50, 300), "causal")
    assert gaps.encode("他", "来了", "昨天", glued=True).input_ids == tuple(gaps.tokenizer.encode("他").ids)
    with pytest.raises(CannotExpress, match=r"^tokens merge across the gap$"):
        gaps.encode("他", "天来了", "昨", glued=True)


@pytest.mark.parametrize("kind", ["metaspace", "unigram", "digits by threes", "wordpiece", "masked bytes"])
def test_a_second_beginning_is_not_put_before_the_first(model_of: Callable[[str], Model], kind: str) -> None:
    model = model_of(kind)
    tokenizer = model.tokenizer.tokenizer
    first, last = (
        tokenizer.id_to_token(tokenizer.encode("The").ids[0]),
        tokenizer.id_to_token(tokenizer.encode("The").ids[-1]),
    )
    masked = model.adapter.objective == "masked"
    text = f"{first}The capital of Italy is ", "Rome", f".{last}" if masked else ""
    prompt = f"{text[0]}___{text[2]}"
    assert said(model, prompt, "Rome") == pytest.approx(plain(model, *text, special=False), rel=1e-9)
    ids = model.tokenizer.encode_prompt(prompt, "Rome").input_ids
    assert [ids.count(tokenizer.token_to_id(token)) for token in {first, last} if masked or token == first] == [1] * (
        1 + masked
    )
    found = kn_thesis.trace(model, prompt, "Italy", "Rome", draws=1, require_first_choice=False)
    read = "".join(found.tokens[slice(*found.cue)]).replace("##", "")
    assert read == "Italy" and found.clean == pytest.approx(plain(model, *text, special=False), rel=1e-6)


@pytest.mark.parametrize("prompt", ["The capital of Italy is [MASK]", "[MASK] is ___", "The <mask> of Italy is"])
def test_a_causal_model_has_no_mask(model_of: Callable[[str], Model], prompt: str) -> None:
    model, why = model_of("bytes"), "a causal model has no mask token"
    for ask in (
        lambda: kn_thesis.attribute(model, [prompt], ["Rome"]),
        lambda: kn_thesis.trace(model, prompt, "is", "Rome"),
        lambda: kn_thesis.edit(model, prompt, "is", "Rome").__enter__(),
    ):
        with pytest.raises(UserError, match=why) as error:
            ask()
        assert "\n" not in str(error.value) and "___" in str(error.value)
    assert list(kn_thesis.suppress(model, [prompt], [(0, 1)], ["Rome"])["reason"]) == [why]


@pytest.mark.parametrize(("kind", "mark"), [("wordpiece", "<mask>"), ("masked bytes", "[MASK]")])
def test_a_mask_of_another_model_is_no_gap(model_of: Callable[[str], Model], kind: str, mark: str) -> None:
    model = model_of(kind)
    for prompt, why in ((f"Rome is {mark}.", "no gap"), (f"{mark} is ___.", "mask token of another model")):
        with pytest.raises(UserError, match=why):
            kn_thesis.attribute(model, [prompt], ["Rome"])


def test_every_method_takes_a_word_with_spaces_around_it(model_of: Callable[[str], Model]) -> None:
    model, prompt = model_of("bytes"), "The capital of Italy is"
    expected = pytest.approx(plain(model, f"{prompt} ", "Rome", ""), rel=1e-6)
    word, old = " Rome", "Ottawa "
    assert kn_thesis.attribute(model, [prompt], [word], nodes=1).scores == pytest.approx(
        kn_thesis.attribute(model, [prompt], ["Rome"], nodes=1).scores
    )
    found = kn_thesis.trace(model, prompt, " Italy", word, foil=old, draws=1, require_first_choice=False)
    assert (found.target, found.foil) == ("Rome", "Ottawa")
    given = {"old": old, "editor": "fine_tuning", "layer": 1, "require_new": False, "learning_rate": 0.05, "norm": 0.5}
    with kn_thesis.edit(model, prompt, "Italy", word, **given) as edited:
        assert (edited.target, edited.old) == ("Rome", "Ottawa")
        assert list(edited.probabilities(prompt, [word, "Rome"])["before"]) == [expected] * 2


@pytest.mark.parametrize("kind", ["bytes", "metaspace", "unigram"])
def test_words_without_spaces_can_be_traced_and_edited(model_of: Callable[[str], Model], kind: str) -> None:
    model, (prompt, word, _) = model_of(kind), GLUED[3]
    expected = pytest.approx(plain(model, prompt, word, ""), rel=1e-6)
    found = kn_thesis.trace(model, prompt, "加拿大", word, draws=1, require_first_choice=False)
    ids = model.tokenizer.encode_prompt(prompt, word).input_ids
    assert model.tokenizer.tokenizer.decode(list(ids[slice(*found.cue)])) == "加拿大" and found.clean == expected
    given = {"old": "首都", "editor": "rome", "layer": 1, "require_new": False, "contexts": ["加拿大的"], "steps": 3}
    with kn_thesis.edit(model, prompt, "加拿大", word, **given) as edited:
        assert list(edited.probabilities(prompt, [word])["before"]) == [expected]


def ending(model: Model) -> Model:
    """The same with a tokenizer that puts a token behind every text."""
    tokenizer = Tokenizer.from_str(model.tokenizer.tokenizer.to_str())
    end = ("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end[0]}", pair=f"$A {end[0]} $B {end[0]}", special_tokens=[end]
    )
    return replace(model, tokenizer=replace(model.tokenizer, tokenizer=tokenizer))


def test_a_text_goes_on_where_it_ends_not_behind_an_appended_token(model_of: Callable[[str], Model]) -> None:
    model = model_of("bytes")
    appended = ending(model)
    assert len(appended.tokenizer.tokenizer.encode("The").ids) == len(model.tokenizer.tokenizer.encode("The").ids) + 1
    for text in ("The capital of Italy is", "A:\n", "加拿大的首都是"):
        ids = torch.tensor([model.tokenizer.tokenizer.encode(text).ids])
        for _ in range(4):
            with torch.no_grad():
                ids = torch.cat((ids, model.module(ids).logits[:, -1:].argmax(-1)), dim=1)
        written = ids[0, -4:].tolist()
        plain_text = model.tokenizer.tokenizer.decode(written, skip_special_tokens=True)
        edited = Edited(appended, "none", "", "", "", "", (), 0, math.nan, [])
        assert edited.complete(text, 4) == " ".join(plain_text.rstrip("\ufffd").split())
    contexts = [write_contexts(one, [(4, 2)], seed=1, beginnings=("The capital",)) for one in (model, appended)]
    assert contexts[0] == contexts[1]
    word = appended.tokenizer.encode_prompt("The capital of Italy is", "Rome")
    assert word == model.tokenizer.encode_prompt("The capital of Italy is", "Rome")


def test_contexts_go_behind_a_beginning_that_the_prompt_has(model_of: Callable[[str], Model]) -> None:
    from kn_thesis.editing.api import EditRequest, make_request
    from kn_thesis.editing.value_optimization import rewriting_problem

    model = model_of("metaspace")
    request = make_request(
        model, EditRequest("<s>The capital of Italy is", "Italy", "Rome", "Ottawa", require_new=False)
    )
    first = model.tokenizer.tokenizer.token_to_id("<s>")
    rows = rewriting_problem(model.tokenizer, request, ["The war ended."]).contexts
    assert len(rows) == 2 and [row.ids.count(first) for row in rows] == [1, 1]
    assert all(row.ids[0] == first and row.ids[row.subject] == rows[0].ids[rows[0].subject] for row in rows)
