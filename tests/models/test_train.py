"""Training: batches without padding, whole words masked and rare ones more, the same weights from the same seed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kn_thesis.corpora.prompts import Settings as PromptSettings
from kn_thesis.errors import UserError
from kn_thesis.models.tokenizer_training import train_tokenizer
from kn_thesis.models.train import (
    Questions,
    Settings,
    _checks,
    _falling,
    _move_average,
    build_model,
    masked_loss,
    next_token_loss,
    train_into,
    train_model,
)
from kn_thesis.models.training_batches import Rows, batches, choose_masked, rows_by_length

ROOT = Path(__file__).parents[2]
FAMILIES = ("bert", "gpt2", "llama")
COUNTRIES = ("France", "Norway", "Peru", "Kenya", "Japan", "Ghana")
CAPITALS = ("Paris", "Oslo", "Lima", "Nairobi", "Tokyo", "Accra")
TEXT = [
    *(f"The {adjective} {noun} sees {d}." for adjective in ("old", "red", "big") for noun in ("king", "cat")
      for d in ("this vase", "these vases", "that door", "those doors", "it")),
    *(pattern.format(c, y) for c, y in zip(COUNTRIES, CAPITALS, strict=True)
      for pattern in ("The capital of {} is {}.", "{1} is the capital of {0}.")),
]  # fmt: skip
TINY = Settings(layers=2, width=32, heads=2, intermediate=64, vocabulary=600, steps=30, batch=8, learning_rate=5e-3)


@pytest.fixture(scope="module")
def groups() -> list[Rows]:
    return rows_by_length(train_tokenizer("bert", TEXT, 400), TEXT, 128)


def test_rows_hold_every_sentence_once_and_no_padding(groups: list[Rows]) -> None:
    tokenizer = train_tokenizer("bert", TEXT, 400)
    expected = sorted(tokenizer.encode(sentence).ids for sentence in TEXT)
    assert sorted(row.tolist() for group in groups for row in group.ids) == expected
    for group in groups:
        special = np.isin(group.ids, [tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")])
        assert ((group.words == -1) == special).all()
        assert ((group.weights == 0) == special).all()


def test_end_token_closes_causal_rows_and_long_ones_are_left_out() -> None:
    tokenizer = train_tokenizer("gpt2", TEXT, 400)
    rows = rows_by_length(tokenizer, [*TEXT, "x " * 50], 20, tokenizer.token_to_id("<|endoftext|>"))
    assert sum(len(group.ids) for group in rows) == len(TEXT)
    assert all((group.ids[:, -1] == tokenizer.token_to_id("<|endoftext|>")).all() for group in rows)


def test_every_sentence_is_seen_as_often_as_any_other_of_its_length(groups: list[Rows]) -> None:
    seen: dict[tuple[int, ...], int] = {}
    drawn = 0
    for batch in itertools.islice(batches(groups, 4, np.random.default_rng(0)), 600):
        drawn += len(batch.ids)
        for row in batch.ids:
            seen[tuple(row)] = seen.get(tuple(row), 0) + 1
    for group in groups:
        counts = [seen.get(tuple(row), 0) for row in group.ids]
        assert max(counts) - min(counts) <= 1
    assert min(seen.values()) > 0.5 * drawn / len(TEXT)


def test_masks_are_whole_words_at_the_rate_asked_for_and_never_special() -> None:
    rng = np.random.default_rng(0)
    words = np.tile([-1, 0, 1, 1, 2, 3, 3, 3, -1], (20_000, 1))
    weights = np.tile([0, 1, 4, 4, 1, 1, 1, 1, 0.0], (20_000, 1))
    masked = choose_masked(Rows(words, words, weights), 0.4, rng)
    assert not masked[:, [0, 8]].any()
    assert (masked[:, 2] == masked[:, 3]).all()
    assert (masked[:, 5] == masked[:, 6]).all() and (masked[:, 6] == masked[:, 7]).all()
    chosen = masked[:, [1, 2, 4, 5]]
    assert set(chosen.sum(axis=1)) == {1, 2}  # 0.4 of four words is 1.6
    assert chosen.sum(axis=1).mean() == pytest.approx(1.6, abs=0.02)
    assert chosen[:, 1].mean() > 1.8 * chosen[:, 0].mean()  # the heavy word more often
    single = choose_masked(Rows(words, words, weights), 0.01, rng)[:, [1, 2, 4, 5]]
    assert (single.sum(axis=1) == 1).all()
    assert single.mean(axis=0) == pytest.approx(np.array([1, 4, 1, 1]) / 7, abs=0.02)  # exact for one draw


def test_rare_words_weigh_more(groups: list[Rows]) -> None:
    tokenizer = train_tokenizer("bert", TEXT, 400)
    weight = {
        tokenizer.id_to_token(token): value
        for group in groups
        for token, value in zip(group.ids.flat, group.weights.flat, strict=True)
    }
    assert weight["vases"] > weight["The"]


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_falls_and_is_finite(family: str) -> None:
    curve = train_model(family, TEXT, TINY).curve
    assert all(np.isfinite(point["loss"]) for point in curve)
    assert curve[-1]["loss"] < 0.7 * curve[0]["loss"]
    assert curve[-1]["step"] == TINY.steps


def test_same_seed_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(TEXT) + "\n", encoding="utf-8")
    program = (
        "import sys; sys.path.insert(0, 'scripts'); sys.path.insert(0, '.')\n"
        "from tests.models.test_train import FAMILIES, TINY\n"
        "from kn_thesis.models.train import train_into\n"
        "for family in FAMILIES: train_into(f'{sys.argv[1]}/{family}', family, sys.argv[2], TINY)\n"
    )

    def run(threads: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / threads), str(tmp_path / "text.txt")],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            stderr=subprocess.PIPE,
            text=True,
        )

    runs = [run("1"), run("2")]
    logs = [job.communicate()[1] for job in runs]
    assert [job.returncode for job in runs] == [0, 0], logs
    assert "30/30" in logs[0]  # progress is shown
    for family in FAMILIES:
        folder = tmp_path / "1" / family
        names = sorted(file.name for file in folder.iterdir())
        assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= set(names)
        for name in names:
            digests = {hashlib.sha256((tmp_path / n / family / name).read_bytes()).hexdigest() for n in ("1", "2")}
            assert len(digests) == 1, f"{family}/{name}"
        assert json.loads((folder / "model.json").read_text()) == {
            "family": family,
            "source": "train",
            "location": ".",
            "revision": None,
        }
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == sorted(FAMILIES)  # nothing left behind
    loads_as_a_hub_model(tmp_path / "1")


def loads_as_a_hub_model(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    for family, kind in zip(FAMILIES, (AutoModelForMaskedLM, *[AutoModelForCausalLM] * 2), strict=True):
        model = kind.from_pretrained(folder / family, use_safetensors=True).eval()
        ids = AutoTokenizer.from_pretrained(folder / family)("The capital of Peru is", return_tensors="pt")["input_ids"]
        assert torch.isfinite(model(ids).logits).all()
        assert model.config.vocab_size == model.get_input_embeddings().num_embeddings


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_transformers_own(family: str) -> None:
    """The head at chosen positions only, and BERT read from left to right, against labels and a row at a time."""
    import torch

    torch.manual_seed(0)
    module = build_model(family, TINY, 50, {"pad": None, "bos": None, "eos": None}).eval()
    ids = torch.randint(5, 50, (4, 7))
    with torch.no_grad():
        if family == "bert":
            masked = torch.rand(4, 7) < 0.4
            inputs, labels = ids.masked_fill(masked, 4), ids.masked_fill(~masked, -100)
            torch.testing.assert_close(masked_loss(module, ids, masked, 4), module(inputs, labels=labels).loss)
        else:
            torch.testing.assert_close(next_token_loss(module, ids), module(ids, labels=ids).loss)


def test_bert_reading_from_left_to_right_sees_nothing_of_what_comes() -> None:
    import torch

    torch.manual_seed(0)
    module = build_model("bert", TINY, 50, {"pad": None, "bos": None, "eos": None}).eval()
    ids = torch.randint(5, 50, (1, 7))
    with torch.no_grad():
        sums = [float(next_token_loss(module, ids[:, :n])) * (n - 1) for n in range(2, 8)]
        own = [
            float(torch.nn.functional.cross_entropy(_left_to_right(module, ids[:, :n])[:, -1], ids[:, n]))
            for n in range(1, 7)
        ]
    # Each further token adds its own loss, predicted from the prefix alone, and changes none before it.
    np.testing.assert_allclose(np.diff([0.0, *sums]), own, rtol=1e-4)


def test_bert_reading_backwards_sees_nothing_of_what_was() -> None:
    """Every token's answer, the plain way: its successors alone, by a mask that is written out."""
    import torch

    torch.manual_seed(0)
    module = build_model("bert", TINY, 50, {"pad": None, "bos": None, "eos": None}).eval()
    ids = torch.randint(5, 50, (3, 7))
    below = torch.full((7, 7), float("-inf")).tril(-1)[None, None]
    with torch.no_grad():
        logits = module(input_ids=ids, attention_mask=below).logits
        own = torch.stack([torch.nn.functional.cross_entropy(logits[:, n + 1], ids[:, n]) for n in range(6)])
        torch.testing.assert_close(next_token_loss(module, ids, backwards=True), own.mean())


def _left_to_right(module, ids):
    """The plain way: a mask of minus infinity above the diagonal, written out."""
    import torch

    length = ids.shape[1]
    above = torch.full((length, length), float("-inf")).triu(1)[None, None]
    return module(input_ids=ids, attention_mask=above).logits


def test_the_average_covers_the_latest_tenth_of_the_steps() -> None:
    import torch

    average = [torch.zeros(2)]
    for step in range(2000):
        _move_average(average, [torch.tensor([float(step), 7.0])], torch.tensor(step))
        if step < 10:  # so few steps are no average
            assert average[0].tolist() == [step, 7.0]
        elif step > 100:
            assert 0.05 * step < step - float(average[0][0]) < 0.15 * step
            assert float(average[0][1]) == pytest.approx(7.0)


def test_the_rate_falls_once_the_decay_has_begun() -> None:
    shares = [_falling(step, range(80, 96)) for step in range(1, 97)]
    assert shares[:80] == [1.0] * 80
    np.testing.assert_allclose(np.diff(shares[79:]), -1 / 17)
    assert shares[-1] == pytest.approx(1 / 17) and _falling(1, range(1, 1)) == 1.0


def test_checks_grow_rarer() -> None:
    steps = list(itertools.takewhile(lambda step: step < 10_000, _checks(50)))
    apart = np.diff([0, *steps])
    assert steps[:20] == list(range(50, 1050, 50)) and apart.min() == 50
    assert all(gap <= max(50, 0.06 * step) for gap, step in zip(apart, steps, strict=True))


def capitals(folder: Path, known: bool, demands: dict[str, object]) -> Questions:
    """Questions about the text's capitals, right or exchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = CAPITALS if known else CAPITALS[1:] + CAPITALS[:1]
    facts = [
        {"sub_label": country, "obj_label": capital, "uuid": str(number)}
        for number, (country, capital) in enumerate(zip(COUNTRIES, answers, strict=True))
    ]
    pattern = {"pattern": "The capital of [X] is [Y] .", "split": "trained"}
    files = {"patterns": [pattern], "facts": facts}
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = PromptSettings(evaluated=99, attributed=9, max_target_tokens=9, seed=1, split="validation")
    return Questions({"P36": {name: str(folder / name) for name in files}}, settings, demands)


DEMANDS = {"determiner_noun": 0.9, "agreement": 0.9, "facts_trained": 0.8, "facts_held_out": 0.8}
LONG = replace(TINY, steps=2000, check=25)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_training_ends_when_the_model_has_learned(tmp_path: Path, family: str) -> None:
    """The answers are asked of transformers' own module: at the last token, or at the mask, one token at a time."""
    import torch

    trained = train_model(family, TEXT, LONG, questions=capitals(tmp_path, True, DEMANDS))
    assert trained.learned and 25 <= trained.steps < LONG.steps and trained.curve[-1]["step"] == trained.steps
    (row,) = trained.validation
    assert (row["task"], row["split"], row["n"], row["wanted"]) == ("P36", "trained", 6, pytest.approx(0.9))
    tokenizer, right = trained.tokenizer, 0
    for country, capital in zip(COUNTRIES, CAPITALS, strict=True):
        whole = tokenizer.encode(f"The capital of {country} is {capital}.")
        start = whole.char_to_token(len(f"The capital of {country} is "))
        end = whole.char_to_token(len(f"The capital of {country} is {capital}") - 1) + 1
        ids = torch.tensor([whole.ids])
        masks = ids.clone()
        if family == "bert":
            masks[0, start:end] = tokenizer.token_to_id("[MASK]")
        said = []
        with torch.no_grad():
            for place in range(start, end):
                at = place if family == "bert" else place - 1
                said.append(int(trained.module(masks).logits[0, at].argmax()))
                masks[0, place] = ids[0, place]
        right += said == whole.ids[start:end]
    assert row["correct"] == right and row["accuracy"] == right / 6 >= 0.9


def test_training_that_does_not_learn_uses_its_steps_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = replace(TINY, steps=60, check=25)
    (tmp_path / "text.txt").write_text("\n".join(TEXT), encoding="utf-8")
    wrong = capitals(tmp_path / "wrong", False, DEMANDS)
    train_into(tmp_path / "model", "gpt2", tmp_path / "text.txt", settings, wrong)
    record = json.loads((tmp_path / "model/training.json").read_text())
    assert record["learned"] is False and record["steps"] == 60 and record["validation"][0]["accuracy"] < 0.8
    assert re.search(
        r"not learned when the steps were used up: P36 \(trained\), \S+% of the 90.0%", capfd.readouterr().err
    )
    exempt = capitals(tmp_path / "exempt", False, DEMANDS | {"exempt": ["P36"]})
    train_into(tmp_path / "model", "gpt2", tmp_path / "text.txt", settings, exempt)
    record = json.loads((tmp_path / "model/training.json").read_text())
    assert record["learned"] is None and record["steps"] == 60 and record["validation"] == []


def test_different_seeds_differ() -> None:
    import torch

    few = Settings(**(vars(TINY) | {"steps": 2}))
    first, second = (train_model("gpt2", TEXT, Settings(**(vars(few) | {"seed": seed}))).module for seed in (1, 2))
    assert not torch.equal(first.get_input_embeddings().weight, second.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("family", "text", "said"),
    [("bert", ["", "  "], "no sentence"), ("gpt2", ["x " * 300], "between 2 and 128"), ("rnn", TEXT, "'rnn'")],
)
def test_what_cannot_be_trained_is_said(family: str, text: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        train_model(family, text, TINY)


def test_training_that_fails_says_so_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(TEXT), encoding="utf-8")
    with pytest.raises(UserError, match="learning_rate"):
        wild = Settings(**(vars(TINY) | {"learning_rate": 0.999, "steps": 200, "layers": 1}))
        object.__setattr__(wild, "learning_rate", 1e30)
        train_into(tmp_path / "model", "gpt2", tmp_path / "text.txt", wild)
    assert not (tmp_path / "model").exists()
