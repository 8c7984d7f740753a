"""A small task traced: which prompts, why not the others, and numbers that depend on nothing but their own prompt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kn_thesis.models.cloze import Encoded, too_long
from kn_thesis.models.load import Model
from kn_thesis.tracing import corruption, task
from kn_thesis.tracing.corruption import cue_noise, standard_deviation
from kn_thesis.tracing.tables import ROLES, TRACED, roles
from kn_thesis.tracing.task import NO_CUE, NO_TOKEN, NOT_SAMPLED, TOO_LONG, WRONG, Tracing, trace_task
from kn_thesis.tracing.trace import Settings, trace_prompt
from tests.helpers.tiny_models import DETAILED, loaded_model
from tests.helpers.tiny_tokenizers import TEXT
from tests.reference.tracing import plain_word

SETTINGS = Settings(draws=2, kinds=("hidden", "mlp"), seed=3)
# Prefix, suffix, target, foil ("": a fact), cue, distractor, noun or fact.
PROMPTS = [
    ("The old king admires", " vase.", "this", "those", "old king", "", "king"),
    ("The old man admires", " vase.", "this", "those", "old man", "", "man"),
    ("These kings near the man admire", " vases.", "those", "this", "These kings", "the man", "king"),
    ("The women admire", " vases.", "those", "this", "women", "", "woman"),
    ("This man admires", " vases.", "those", "this", "This man", "", "man"),
    ("These kings help", " vase.", "this", "those", "kings", "", "king"),
    ("The old king of Italy has", " vase.", "this", "those", "king", "Italy", "king"),
    ("The capital of Italy is", ".", "Rome", "", "Italy", "", "fact 1"),
    ("The capital of France is", ".", "Paris", "", "France", "", "fact 2"),
]


@pytest.fixture(scope="module", params=DETAILED)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded_model(request.param, tmp_path_factory.mktemp(request.param), TEXT)


def prompts_of(model: Model, long: bool = False) -> pd.DataFrame:
    """The table of PROMPTS; with `long`, pairs whose words have two tokens each."""
    rows = []
    for number, (prefix, suffix, target, foil, cue, distractor, about) in enumerate(PROMPTS):
        target, foil = ("olds", "mans") if foil and long else (target, foil)
        encoded = model.tokenizer.encode(prefix, suffix, target)
        foil_ids = model.tokenizer.encode(prefix, suffix, foil).target_ids if foil else ()
        row = {"prompt": f"p{number}", "kind": "paradigm" if foil else "relation", "prefix": prefix, "suffix": suffix}
        row |= {"group": target if foil else about, "noun": about if foil else "", "target": target, "foil": foil}
        row |= {"cue": cue, "cue_at": prefix.index(cue), "distractor": distractor}
        row |= {"distractor_at": prefix.index(distractor) if distractor else -1}
        row |= {"input_ids": encoded.input_ids, "gap": encoded.gap, "target_ids": encoded.target_ids}
        rows.append(row | {"foil_ids": foil_ids, "text": f"{prefix} ___{suffix}"})
    return pd.DataFrame(rows)


def traced(model: Model, prompts: pd.DataFrame, most: int = 99, wrong: tuple[str, ...] = ()) -> Tracing:
    evaluation = prompts[["prompt"]].assign(correct=~prompts["prompt"].isin(wrong))
    return trace_task(model, prompts, evaluation[::-1], most, SETTINGS)


def status(tracing: Tracing) -> dict[str, str]:
    return dict(zip(tracing.prompts["prompt"], tracing.prompts["status"], strict=True))


def same_numbers(one: Tracing, other: Tracing, prompts: list[str]) -> None:
    """Both traced these prompts, with exactly the same numbers."""
    for table in ("prompts", "effects"):
        parts = [getattr(tracing, table) for tracing in (one, other)]
        parts = [part[part["prompt"].isin(prompts)].sort_values("prompt", kind="stable") for part in parts]
        assert set(parts[0]["prompt"]) == set(prompts)
        pd.testing.assert_frame_equal(*(part.reset_index(drop=True) for part in parts), check_exact=True)


def steps_of(model: Model, row: Any, word: tuple[int, ...]) -> list[tuple[list[int], int, int]]:
    """What the model sees before each of the word's tokens, where it answers, and the token."""
    ids, gap, found = list(row.input_ids), row.gap, []
    for number, token in enumerate(word):
        seen = ids[: gap + 1] + list(word[:number])
        if model.adapter.objective == "masked":
            seen = ids[:gap] + list(word[:number]) + ids[gap + number :]
        found.append((seen, gap + number, token))
    return found


@pytest.mark.parametrize("long", [False, True])
def test_effects_equal_the_plain_algorithm(model: Model, long: bool) -> None:
    prompts = prompts_of(model, long)
    found = traced(model, prompts)
    assert {len(ids) for ids in prompts["foil_ids"]} == {0, 2 if long else 1}
    assert set(found.prompts["status"]) == {TRACED}
    by_name = found.prompts.set_index("prompt")
    for row in prompts.iloc[[2, 6, 7]].itertuples():
        numbers, tokens = by_name.loc[row.prompt], len(row.input_ids)
        span = numbers["cue_first"], numbers["cue_last"] + 1
        assert model.tokenizer.tokenizer.decode(list(row.input_ids[slice(*span)])).strip() == row.cue
        noise = cue_noise(model.adapter, tokens, span, 2, 3.0, 3, row.prompt)
        for kind in SETTINGS.kinds:
            rows = found.effects[(found.effects["prompt"] == row.prompt) & (found.effects["restored"] == kind)]
            target = plain_word(model.module, steps_of(model, row, row.target_ids), noise, kind, 1)
            expected = [target]
            if row.foil:
                foil = plain_word(model.module, steps_of(model, row, row.foil_ids), noise, kind, 1)
                expected.append(tuple(a / (a + b) for a, b in zip(target, foil, strict=True)))
            for measure, (clean, corrupted, restored) in zip(("", "_preference"), expected, strict=False):
                said = [numbers[f"{name}{measure}"] for name in ("clean", "corrupted")]
                assert said == pytest.approx([clean, corrupted.mean()], rel=1e-9)
                effect = rows[measure.removeprefix("_") + "_effect" if measure else "effect"]
                assert effect.dtype == np.float32
                np.testing.assert_allclose(
                    effect, (restored - corrupted).mean(-1).ravel(), rtol=1e-6, atol=1e-7 * np.abs(restored).max()
                )
            np.testing.assert_array_equal(rows["position"], np.repeat(range(tokens), 3))
            np.testing.assert_array_equal(rows["layer"], [0, 1, 2] * tokens)
            assert rows["preference_effect"].isna().all() == (row.kind == "relation")


def test_the_embeddings_are_measured_once_for_all_prompts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of(model)
    before, measured = traced(model, prompts), []

    def counted(embeddings: torch.Tensor) -> float:
        measured.append(embeddings.shape)
        return standard_deviation(embeddings)

    for module in (task, corruption):
        monkeypatch.setattr(module, "standard_deviation", counted)
    same_numbers(before, traced(model, prompts), list(prompts["prompt"]))
    assert measured == [model.adapter.word_embeddings().shape]


def test_every_row_says_which_token_it_is(model: Model) -> None:
    found, prompts = traced(model, prompts_of(model)), prompts_of(model).set_index("prompt")
    for name, rows in found.effects.groupby("prompt"):
        numbers, ids = found.prompts.set_index("prompt").loc[name], prompts.loc[name, "input_ids"]
        assert (numbers["tokens"], numbers["gap"]) == (len(ids), prompts.loc[name, "gap"])
        cue = numbers["cue_first"], numbers["cue_last"] + 1
        distractor = None
        if prompts.loc[name, "distractor"]:
            distractor = numbers["distractor_first"], numbers["distractor_last"] + 1
        else:
            assert (numbers["distractor_first"], numbers["distractor_last"]) == (-1, -1)
        for row in rows.itertuples():
            assert row.token == model.tokenizer.tokenizer.id_to_token(int(ids[row.position]))
            assert row.role == roles(len(ids), cue, numbers["gap"], distractor)[row.position]
    second = found.prompts.set_index("prompt").loc["p2"]
    ids = prompts.loc["p2", "input_ids"][second["distractor_first"] : second["distractor_last"] + 1]
    assert model.tokenizer.tokenizer.decode(list(ids)).strip() == "the man"
    assert list(found.effects["role"].cat.categories) == list(ROLES)
    assert found.prompts["cluster"].tolist() == [about for *_, about in PROMPTS]


def test_in_a_causal_model_nothing_before_the_cue_has_an_effect(model: Model) -> None:
    found = traced(model, prompts_of(model))
    first = found.effects["prompt"].map(found.prompts.set_index("prompt")["cue_first"]).astype(int)
    before = found.effects[found.effects["position"] < first]
    assert len(before) > 50 and set(before["role"]) == {"before"}
    causal = model.adapter.objective == "causal"
    assert (before["effect"] == 0).all() == causal
    assert (before["preference_effect"].dropna() == 0).all() == causal


def test_every_prompt_has_one_status(model: Model) -> None:
    prompts = prompts_of(model)
    prompts.loc[3, ["cue", "cue_at"]] = ["", -1]
    prompts.loc[4, ["cue", "cue_at"]] = [" ", 4]  # a space is no token of its own
    prompts.at[5, "input_ids"] = (2,) * 25
    found = traced(model, prompts, 3, wrong=("p1", "p8"))
    said = status(found)
    assert list(said) == list(prompts["prompt"])
    why = [said[f"p{number}"] for number in (1, 3, 4, 5, 8)]
    assert why == [WRONG, NO_CUE, NO_TOKEN, TOO_LONG, WRONG]
    counts = Counter(said.values())
    assert (counts[TRACED], counts[NOT_SAMPLED], sum(counts.values())) == (3, 1, len(prompts))
    numbers = found.prompts.set_index("status").drop(columns=["prompt", "cluster"])
    assert numbers.loc[[TRACED]].drop(columns=["clean_preference", "corrupted_preference"]).notna().all(axis=None)
    assert numbers.drop(index=TRACED).isna().all(axis=None)
    assert set(found.effects["prompt"]) == {name for name, why in said.items() if why == TRACED}


def test_the_answer_s_own_tokens_count_where_the_model_sees_them(model: Model) -> None:
    """A causal model sees all of an answer's tokens but the last behind the prompt; a masked one has masks for them."""
    fits = 23 if model.adapter.objective == "causal" else 24
    for tokens in (fits, fits + 1):
        word = Encoded((3,) * tokens, tokens - 2, (5, 6))
        if model.adapter.objective == "causal":
            word = Encoded((3,) * tokens, tokens - 1, (5, 6))
        assert too_long(model, [word]) == (tokens > fits)
    assert trace_prompt(model, [Encoded((3,) * fits, fits - 2, (5, 6))], (2, 4), "x", SETTINGS).clean.shape == (1,)


def test_samples_are_spread_over_nouns(model: Model) -> None:
    prompts = prompts_of(model).iloc[:7]
    names = dict(zip(prompts["prompt"], prompts["noun"], strict=True))
    chosen = []
    for most in range(1, 8):
        found = {name for name, why in status(traced(model, prompts, most)).items() if why == TRACED}
        counts = Counter(names[name] for name in found)
        asked = {noun: list(names.values()).count(noun) for noun in ("king", "man", "woman")}
        assert sum(counts.values()) == most
        turns = max(counts.values())
        assert all(counts[noun] >= min(turns - 1, asked[noun]) for noun in asked)  # a second only after all have one
        chosen.append(found)
    assert all(one < more for one, more in pairwise(chosen))
    prompts = prompts.assign(noun=["one", *["many"] * 4, "two", "many"])
    samples = []
    for seed in range(5):
        evaluation = prompts[["prompt"]].assign(correct=True)
        found = trace_task(model, prompts, evaluation, 3, replace(SETTINGS, kinds=("hidden",), seed=seed)).prompts
        found = found[found["status"] == TRACED]
        assert sorted(found["cluster"]) == ["many", "one", "two"]
        samples.append(tuple(found["prompt"]))
    assert len(set(samples)) > 1  # the seed draws it


def test_more_prompts_change_no_number_of_the_others(model: Model) -> None:
    prompts = prompts_of(model)
    whole, some = traced(model, prompts), traced(model, prompts.iloc[[6, 2, 7]])
    same_numbers(whole, some, ["p2", "p6", "p7"])
    same_numbers(traced(model, prompts.assign(prompt=prompts["prompt"].replace("p0", "other"))), some, ["p2", "p7"])


def test_the_order_of_prompts_changes_nothing(model: Model) -> None:
    prompts = prompts_of(model)
    one, other = traced(model, prompts, 4), traced(model, prompts.sample(frac=1, random_state=2), 4)
    assert status(one) == status(other)
    same_numbers(one, other, [name for name, why in status(one).items() if why == TRACED])


def test_a_prompt_s_name_and_the_seed_draw_its_noise(model: Model) -> None:
    prompts = prompts_of(model).iloc[[1, 1]].assign(prompt=["a", "b"])
    found = traced(model, prompts).prompts
    assert found["clean"][0] == found["clean"][1] and found["corrupted"][0] != found["corrupted"][1]


@pytest.mark.parametrize("wrong", [tuple(f"p{number}" for number in range(9)), None])
def test_a_task_of_which_nothing_is_traced(model: Model, wrong: tuple[str, ...] | None) -> None:
    prompts = prompts_of(model)
    whole = traced(model, prompts.iloc[:2])
    empty = traced(model, prompts, wrong=wrong) if wrong else traced(model, prompts.iloc[:0])
    assert len(empty.effects) == 0 and list(empty.prompts["status"]) == [WRONG] * (9 if wrong else 0)
    for table in ("prompts", "effects"):
        assert list(getattr(empty, table)) == list(getattr(whole, table))
        kinds = getattr(empty, table).dtypes.drop(["prompt", "cluster", "status", "token"], errors="ignore")
        assert kinds.equals(getattr(whole, table).dtypes[kinds.index])
