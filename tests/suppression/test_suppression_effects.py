"""A small task from prompts to tables, held against one word at one prompt under one change at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_thesis.corpora.blanks import CannotExpress
from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.load import Model, load_model
from kn_thesis.models.tokenizer_training import save_tokenizer, train_tokenizer
from kn_thesis.suppression.tables import Suppression
from kn_thesis.suppression.task import Settings, suppress_task
from tests.helpers.tiny_models import DETAILED, model_of
from tests.helpers.tiny_tokenizers import TEXT
from tests.reference.suppression import plain_means, plain_word

SENTENCES = [*TEXT, *["These women admire these vases but that man admires that vase."] * 20]
A, B, C, D = (0, 3), (1, 4), (2, 5), (2, 1)
# Prefix, suffix, target, foil, number, and the neurons that are attributed (None: the prompt is not).
PROMPTS = [
    ("The old king admires", " vase.", "this", "those", "singular", (C, A)),
    ("The old man admires", " vase.", "this", "these", "singular", (C, A)),
    ("The women admire", " vases.", "those", "this", "plural", (B, C)),
    ("These kings admire", " vases.", "those", "that", "plural", (B, C)),
    ("These kings admire", " vase.", "this", "those", "singular", None),
    ("The old man", " vase.", "that", "those", "singular", (C,)),
    ("The women", " vase.", "that", "the", "singular", (A,)),
    ("This man admires", " vases.", "these", "this", "plural", (D, B, C)),
    ("The capital of", " is Rome.", "Italy", "France", "", (D,)),
    ("The man admires", " vases.", "those", "this", "plural", None),
]
WORDS = {"plural": ["these"], "singular": ["this", "that"], "neutral": ["the"], "biased": ["mans", "mankingness"]}
SETTINGS = Settings(("erase", "enhance", "mean"), WORDS, 2, 8, 5, 4, 1, 0.2, 0.6, "activation")
NAMES = {"target": ["Italy", "that", "these", "this", "those"], "number": ["singular", "plural", "shared"]}


@dataclass(frozen=True)
class Task:
    model: Model
    prompts: pd.DataFrame
    result: Suppression

    @cached_property
    def means(self) -> np.ndarray:
        return plain_means(self.model.module, [self.encoded(name) for name in self.prompts["prompt"]])

    @cached_property
    def sample(self) -> list[str]:
        """The prompts that random sets are tried on."""
        return sorted(self.prompts["prompt"], key=lambda name: hash_rank("controls", SETTINGS.seed, name))[:8]

    def row(self, prompt: str) -> Any:
        return self.prompts.set_index("prompt").loc[prompt]

    def encoded(self, prompt: str, word: str | None = None) -> Encoded:
        row = self.row(prompt)
        return self.model.tokenizer.encode(row["prefix"], row["suffix"], word or row["group"])

    def plain(self, prompt: str, word: str, members: str = "", operation: str = "") -> float:
        """Log-probability of a word, or of the prompt's own word that the label means."""
        row = self.row(prompt)
        if word in ("(singular form)", "(plural form)"):
            word = row["group"] if row["number"] in word else row["foil"]
        encoded = self.encoded(prompt, {"(target)": row["group"], "(foil)": row["foil"]}.get(word, word))
        places = [tuple(map(int, place.split("."))) for place in members.split()]
        change = ([layer for layer, _ in places], [neuron for _, neuron in places], operation, self.means)
        return plain_word(self.model.module, encoded.input_ids, encoded.gap, encoded.target_ids, *change)

    def members(self, row: Any, draw: int = 0) -> str:
        """The neurons of a row's set."""
        sets = self.result.sets
        same = (sets["set"] == row.set) & (sets["kind"] == row.kind) & (sets["draw"] == draw)
        (found,) = set(sets.loc[same, "members"])
        return found


def task_of(model: Model, numbers: bool = True, settings: Settings = SETTINGS) -> Task:
    table = []
    for number, (prefix, suffix, target, foil, grammatical, _) in enumerate(PROMPTS):
        one, other = (model.tokenizer.encode(prefix, suffix, word) for word in (target, foil))
        texts = {"prompt": f"p{number}", "group": target, "foil": foil, "prefix": prefix, "suffix": suffix}
        ids = {"input_ids": one.input_ids, "gap": one.gap, "target_ids": one.target_ids, "foil_ids": other.target_ids}
        texts["text"] = f"{prefix} ___{suffix}".strip()
        table.append(texts | ids | {"number": grammatical if numbers else ""})
    prompts = pd.DataFrame(table)
    attributed = [(f"p{number}", peaks) for number, (*_, peaks) in enumerate(PROMPTS) if peaks][::-1]
    scores = np.full((len(attributed), model.adapter.layers, model.adapter.width), 0.01, dtype=np.float32)
    for row, (_, peaks) in zip(scores, attributed, strict=True):
        row[tuple(np.transpose(peaks))] = 1
    return Task(model, prompts, suppress_task(model, prompts, scores, [name for name, _ in attributed], settings))


def load(family: str, folder: Path) -> Model:
    tokenizer = train_tokenizer(family, SENTENCES, 500)
    positions = {"n_positions" if family == "gpt2" else "max_position_embeddings": 24}
    model = model_of(family, vocab_size=tokenizer.get_vocab_size(), pad_token_id=None, **positions)
    for layer, neuron in (A, B, C, D):  # strong neurons, so that changes overturn some answers
        value = model.adapter.down_projection(layer).weight
        (value if family == "gpt2" else value.T)[neuron] *= 30
    model.module.save_pretrained(folder)
    save_tokenizer(tokenizer, family, folder, 24)
    return load_model(folder, dtype="float64", device="cpu")


@pytest.fixture(scope="module", params=DETAILED)
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Task:
    return task_of(load(request.param, tmp_path_factory.mktemp(request.param)))


def some(table: pd.DataFrame, rows: int) -> Iterable[Any]:
    return table.sample(rows, random_state=3).itertuples()


def test_effects_equal_the_plain_algorithm(task: Task) -> None:
    effects = task.result.effects
    asked = [word for listed in WORDS.values() for word in listed]
    assert len(task.encoded("p0", "mans").target_ids) > 1
    for row in some(effects[effects["word"].isin(asked)], 40):
        before = task.plain(row.prompt, row.word)
        after = task.plain(row.prompt, row.word, task.members(row), row.operation)
        assert (row.before, row.after) == pytest.approx((np.exp(before), np.exp(after)), rel=1e-5)
        assert row.log_change == pytest.approx(after - before, rel=1e-5, abs=1e-5)
    assert effects["log_change"].abs().groupby([effects["set"], effects["operation"]], observed=True).max().min() > 1e-3


def test_preactivations_are_changed_where_they_were_attributed_to(task: Task) -> None:
    """As with hooks before the activation function; in masked models as ever."""
    before = task.model.adapter.objective == "causal"
    other = task_of(task.model, settings=replace(SETTINGS, neuron="preactivation"))
    effects = other.result.effects
    means = plain_means(task.model.module, [other.encoded(prompt) for prompt in other.prompts["prompt"]], before)
    chosen = effects[effects["word"].isin(["these", "this"]) & (effects["operation"] != "erase")]
    for row in some(chosen, 12):
        encoded = other.encoded(row.prompt, row.word)
        places = np.array([place.split(".") for place in other.members(row).split()], dtype=int).T
        change = (*places, row.operation, means, before)
        after = plain_word(other.model.module, encoded.input_ids, encoded.gap, encoded.target_ids, *change)
        assert row.after == pytest.approx(np.exp(after), rel=1e-5)
    same = np.allclose(chosen["after"], task.result.effects.loc[chosen.index, "after"], rtol=1e-6)
    assert same == (not before)


def test_forms_are_the_prompt_s_own_words_by_number(task: Task) -> None:
    effects = task.result.effects
    forms = effects[effects["word"].isin(["(singular form)", "(plural form)"])]
    assert (forms["word_group"].astype(str) == forms["word"].str.strip("()").str.split().str[0]).all()
    for prompt, rows in forms.groupby("prompt", observed=True):
        assert set(rows["word"]) == {"(singular form)", "(plural form)"}
        for row in some(rows, 4):
            assert row.before == pytest.approx(np.exp(task.plain(prompt, row.word)), rel=1e-5)
            after = task.plain(prompt, row.word, task.members(row), row.operation)
            assert row.after == pytest.approx(np.exp(after), rel=1e-5)
    assert "p8" not in set(forms["prompt"]) and "p8" in set(effects["prompt"])  # its number is not known


def test_every_prompt_set_operation_and_word_is_there_once(task: Task) -> None:
    effects, words = task.result.effects, task.result.words.set_index("word")
    assert not effects.duplicated(["prompt", "set", "kind", "operation", "word"]).any()
    assert (effects.groupby("word", observed=False).size()[words.index] == 7 * 3 * words["prompts"]).all()
    assert words["prompts"].drop("mankingness").tolist() == [10, 10, 10, 10, 10, 9, 9]
    assert (words["prompts"] + words["left_out"] == 10).all()
    assert words.loc["mankingness", ["prompts", "reason"]].tolist() == [0, "word has too many tokens"]
    assert words.loc["(plural form)", "reason"] == "number is not known" and words.loc["this", "reason"] == ""
    groups = [group for group, listed in WORDS.items() for _ in listed]
    assert words["word_group"].tolist() == [*groups, "singular", "plural"]


def test_words_that_cannot_be_asked_are_absent(task: Task) -> None:
    with pytest.raises(CannotExpress):
        task.encoded("p0", " ")
    assert "mankingness" not in set(task.result.effects["word"].astype(str))
    assert np.isfinite(task.result.effects[["before", "after", "log_change"]].to_numpy()).all()


def test_sets_are_told_whole(task: Task) -> None:
    sets = task.result.sets
    own = sets[sets["draw"] == 0].set_index(["kind", "set", "operation"])
    assert len(own) == 8 * 3 and {kind: list(dict.fromkeys(own.loc[kind].index.get_level_values(0))) for kind in NAMES}
    said = own.xs("erase", level="operation")
    members = {
        "target": {"Italy": "2.1", "that": "", "these": "1.4 2.1 2.5", "this": "0.3 2.5", "those": "1.4 2.5"},
        "number": {"singular": "0.3", "plural": "1.4", "shared": "2.5"},
    }
    over = {"Italy": 1, "that": 2, "these": 1, "this": 2, "those": 2, "singular": 4, "plural": 3, "shared": 7}
    for kind, listed in members.items():
        assert said.loc[kind, "members"].to_dict() == listed
        assert said.loc[kind, "neurons"].to_dict() == {name: len(text.split()) for name, text in listed.items()}
        assert said.loc[kind, "refined_over"].to_dict() == {name: over[name] for name in listed}
    assert said.loc[("target", "this"), "mean_activation"] == pytest.approx(
        (task.means[A] + task.means[C]) / 2, rel=1e-4
    )
    assert np.isnan(said.loc[("target", "that"), "mean_activation"])
    assert "that" not in set(task.result.effects["set"]) | set(task.result.controls["set"])
    assert set(sets.loc[sets["draw"] > 0, "draw"]) == {1, 2} and len(sets) == (8 + 7 * 2) * 3


def test_correct_prompts_are_counted_over_the_sample(task: Task) -> None:
    rows = task.prompts.set_index("prompt").loc[task.sample]
    moved = 0
    for row in task.result.sets.itertuples():
        own = rows.index[rows["number" if row.kind == "number" else "group"] == row.set]
        assert row.own_prompts == len(own)
        counts = []
        for change in ((), (row.members, row.operation)):
            counts.append(sum(task.plain(p, "(target)", *change) > task.plain(p, "(foil)", *change) for p in own))
        assert [row.correct_before, row.correct_after] == counts
        moved += counts[0] != counts[1]
    assert moved


def test_controls_are_means_over_the_sample(task: Task) -> None:
    effects, controls = task.result.effects, task.result.controls
    columns, values = ["set", "kind", "operation", "word"], ["before", "after", "log_change"]
    assert len(controls) == 7 * 3 * 8 * 3  # sets, draws, words, operations
    sample = effects[effects["prompt"].isin(task.sample)]
    expected = sample.astype(dict.fromkeys(columns, str)).groupby(columns)[values].agg(["mean", "count"])
    own = controls[controls["draw"] == 0].astype(dict.fromkeys(columns, str)).set_index(columns)
    assert expected.index.isin(own.index).all()
    for value in values:
        np.testing.assert_allclose(own.loc[expected.index, value], expected[value, "mean"], rtol=1e-4, atol=1e-6)
    assert (own.loc[expected.index, "prompts"] == expected["before", "count"]).all()
    nowhere = own.drop(expected.index)
    assert set(nowhere.index.get_level_values("word")) == {"mankingness"} and (nowhere["prompts"] == 0).all()
    assert nowhere[values].isna().all(axis=None)


def test_random_sets_are_changed_in_the_set_s_place(task: Task) -> None:
    controls = task.result.controls
    for row in some(controls[(controls["draw"] > 0) & controls["word"].isin(["this", "mans"])], 8):
        change = task.members(row, row.draw), row.operation
        assert not set(change[0].split()) & set(task.members(row).split())
        before = np.array([task.plain(prompt, row.word) for prompt in task.sample])
        after = np.array([task.plain(prompt, row.word, *change) for prompt in task.sample])
        means = [np.exp(before).mean(), np.exp(after).mean(), (after - before).mean()]
        assert [row.before, row.after, row.log_change] == pytest.approx(means, rel=1e-4, abs=1e-6)


def test_batches_and_the_sample_do_not_change_effects(task: Task) -> None:
    small = task_of(task.model, settings=replace(SETTINGS, batch_tokens=30, random_prompts=2, random_sets=0)).result
    keys = ["prompt", "set", "kind", "operation", "word", "word_group"]
    pd.testing.assert_frame_equal(small.effects[keys], task.result.effects[keys])
    values = ["before", "after", "log_change"]
    np.testing.assert_allclose(small.effects[values], task.result.effects[values], rtol=1e-5, atol=2e-6)
    assert set(small.controls["draw"]) == {0} and small.controls["prompts"].max() == 2


def test_without_numbers_words_are_target_and_foil(task: Task) -> None:
    bare = task_of(task.model, numbers=False)
    assert set(bare.result.sets["kind"]) == {"target"}
    assert bare.result.words["word_group"].tolist()[-2:] == ["target", "foil"]
    effects = bare.result.effects
    own = effects[effects["word"].isin(["(target)", "(foil)"])]
    assert (own.groupby("word", observed=True).size() == 4 * 3 * 10).all()
    for row in some(own, 6):
        after = bare.plain(row.prompt, row.word, bare.members(row), row.operation)
        assert row.after == pytest.approx(np.exp(after), rel=1e-5)


def test_a_task_without_knowledge_neurons(task: Task) -> None:
    scores = np.zeros((3, task.model.adapter.layers, task.model.adapter.width), dtype=np.float32)
    result = suppress_task(task.model, task.prompts, scores, ["p0", "p2", "p3"], SETTINGS)
    assert len(result.effects) == len(result.controls) == 0
    assert list(result.effects) == list(task.result.effects) and list(result.controls) == list(task.result.controls)
    assert (result.sets["neurons"] == 0).all() and len(result.sets) == 5 * 3
    assert (result.sets["correct_after"] == result.sets["correct_before"]).all()
    assert result.words["prompts"].tolist() == task.result.words["prompts"].tolist()
