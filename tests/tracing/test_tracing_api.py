"""`kn_thesis.trace`: one prompt and one kind of restored state, against the plain algorithm."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import kn_thesis
from kn_thesis.errors import UserError
from kn_thesis.models.load import Model
from kn_thesis.tracing.corruption import cue_noise
from kn_thesis.tracing.patching import KINDS
from kn_thesis.tracing.prose import RESTORED_WORDS
from tests.helpers.tiny_models import DETAILED, loaded_model
from tests.helpers.tiny_tokenizers import TEXT
from tests.reference.tracing import plain_word

TARGET, LONG = "this", "mans"  # the latter has two tokens
SETTINGS: dict[str, Any] = {"draws": 3, "seed": 5, "require_first_choice": False}


@pytest.fixture(scope="module", params=DETAILED)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model whose first choice in `prompt_of` is TARGET."""
    text = [*TEXT, *["That man admires those vases."] * 20]
    found = loaded_model(request.param, tmp_path_factory.mktemp(request.param), text, tie_word_embeddings=False)
    answer_with(found, prompt_of(found), TARGET)
    return found


def answer_with(model: Model, prompt: str, word: str) -> None:
    """Turn the word's row of the output matrix towards the prompt's last state, up to a probability of 0.7 or so."""
    encoded = model.tokenizer.encode_prompt(prompt, word)
    (token,), output, seen = encoded.target_ids, model.module.get_output_embeddings(), []
    hook = output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, encoded.gap]))
    logits = model.module(torch.tensor([encoded.input_ids])).logits[0, encoded.gap]
    hook.remove()
    missing = logits.logsumexp(-1) + 1 - logits[token]
    with torch.no_grad():
        output.weight[token] += missing * seen[0] / seen[0].square().sum()


def prompt_of(model: Model) -> str:
    return "The old man admires ___ vases." if model.adapter.objective == "masked" else "The old man admires"


def steps_of(model: Model, word: str) -> list[tuple[list[int], int, int]]:
    """What the model sees before each of the word's tokens, where it answers, and the token."""
    encoded = model.tokenizer.encode_prompt(prompt_of(model), word)
    ids, gap, target, found = list(encoded.input_ids), encoded.gap, list(encoded.target_ids), []
    for number, token in enumerate(target):
        before = target[:number]
        if model.adapter.objective == "causal":
            found.append((ids + before, gap + number, token))
        else:
            found.append((ids[:gap] + before + ids[gap + number :], gap + number, token))
    return found


def plainly(model: Model, word: str, cue: tuple[int, int], kind: str, window: int) -> tuple[Any, ...]:
    """Probabilities of a word: clean, corrupted (draws,), restored (tokens, layers, draws)."""
    tokens = len(model.tokenizer.encode_prompt(prompt_of(model), word).input_ids)
    name = f"The old man admires ___{' vases.' if model.adapter.objective == 'masked' else ''}"
    noise = cue_noise(model.adapter, tokens, cue, SETTINGS["draws"], 3.0, SETTINGS["seed"], name)
    return plain_word(model.module, steps_of(model, word), noise, kind, window)


@pytest.mark.parametrize("word", [TARGET, LONG])
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_the_plain_algorithm(model: Model, kind: str, word: str) -> None:
    found = kn_thesis.trace(model, prompt_of(model), "old man", word, kind=kind, window=2, **SETTINGS)
    assert len(steps_of(model, word)) == (1 if word == TARGET else 2)
    assert found.tokens[slice(*found.cue)] == ["old", "man"]
    clean, corrupted, restored = plainly(model, word, found.cue, kind, 2)
    assert (found.clean, found.corrupted) == pytest.approx((clean, corrupted.mean()), rel=1e-9)
    np.testing.assert_allclose(found.effects, (restored - corrupted).mean(-1), rtol=1e-7, atol=1e-13)
    assert np.abs(found.effects).max() > 1e-3 * clean
    assert found.effects.dtype == np.float64 and found.effects.shape == (len(found.tokens), 3)
    assert (found.measure, found.kind, found.window, found.target, found.foil) == ("probability", kind, 2, word, None)


@pytest.mark.parametrize("foil", ["those", LONG])
def test_a_foil_makes_it_a_preference(model: Model, foil: str) -> None:
    if foil == LONG and model.adapter.objective == "masked":
        with pytest.raises(UserError, match=r"'this' and 'mans' have 1 and 2 tokens: a masked model cannot") as error:
            kn_thesis.trace(model, prompt_of(model), "old man", TARGET, foil=foil)
        assert "\n" not in str(error.value)
        return
    found = kn_thesis.trace(model, prompt_of(model), "old man", TARGET, foil=foil, kind="mlp", window=1, **SETTINGS)
    one, other = (plainly(model, word, found.cue, "mlp", 1) for word in (TARGET, foil))
    clean, corrupted, restored = (a / (a + b) for a, b in zip(one, other, strict=True))
    assert (found.clean, found.corrupted) == pytest.approx((clean, corrupted.mean()), rel=1e-9)
    np.testing.assert_allclose(found.effects, (restored - corrupted).mean(-1), rtol=1e-7, atol=1e-13)
    assert found.measure == "preference" and found.foil == foil


def test_what_is_not_said_is_scaled_or_changes_nothing(model: Model) -> None:
    prompt = prompt_of(model)
    found = kn_thesis.trace(model, prompt, "old man", TARGET, kind="attention", **SETTINGS)
    assert found.window == 1  # 10 of 48, in three layers
    same = kn_thesis.trace(model, prompt, " old man ", TARGET, kind="attention", window=1, batch_tokens=1, **SETTINGS)
    np.testing.assert_allclose(same.effects, found.effects, rtol=1e-9, atol=1e-15)
    mark = "[MASK]" if model.adapter.objective == "masked" else "___"
    written = prompt.replace("___", mark) if "___" in prompt else f"{prompt} {mark}"
    again = kn_thesis.trace(model, written, "old man", TARGET, kind="attention", **SETTINGS)
    np.testing.assert_array_equal(again.effects, found.effects)
    other = kn_thesis.trace(model, prompt, "old man", TARGET, kind="attention", **(SETTINGS | {"seed": 6}))
    assert other.clean == found.clean and other.corrupted != found.corrupted


def test_a_causal_model_s_tokens_before_the_cue_bring_nothing_back(model: Model) -> None:
    found = kn_thesis.trace(model, prompt_of(model), "man", TARGET, **SETTINGS)
    assert found.cue[0] > 1
    assert (found.effects[: found.cue[0]] == 0).all() == (model.adapter.objective == "causal")


def test_it_wants_what_the_model_knows(model: Model) -> None:
    prompt, cue = prompt_of(model), "old man"
    assert kn_thesis.trace(model, prompt, cue, TARGET, draws=1).clean > 0.5
    with pytest.raises(UserError, match=f"^'those' is not the model's first choice in the prompt '{prompt}': "):
        kn_thesis.trace(model, prompt, cue, "those", draws=1)
    with pytest.raises(UserError, match=f"^'those' is not more probable than 'this' in the prompt '{prompt}': "):
        kn_thesis.trace(model, prompt, cue, "those", foil=TARGET, draws=1)
    clean = {word: kn_thesis.trace(model, prompt, cue, word, **SETTINGS).clean for word in ("those", "king")}
    more, less = sorted(clean, key=lambda word: -clean[word])
    # Neither is the first choice: with a foil it is enough to be more probable than that.
    assert kn_thesis.trace(model, prompt, cue, more, foil=less, draws=1).clean > 0.5
    assert kn_thesis.trace(model, prompt, cue, less, foil=more, draws=1, require_first_choice=False).clean < 0.5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cue": "Spain"}, "the cue 'Spain' is not in the prompt 'The old man admires'"),
        ({"cue": " "}, "the cue is empty"),
        ({"cue": "ma"}, "the cue 'ma' is not in the prompt"),
        ({"kind": "mlps"}, "unknown kind 'mlps': choose one of hidden, mlp, attention, severed_mlp, severed_attention"),
        ({"draws": 0}, "noise and draws must be above 0"),
        ({"noise": 0.0}, "noise and draws must be above 0"),
        ({"window": 0}, "window is 0: give a whole number of layers"),
        ({"window": 0.2}, "window is 0.2: give a whole number of layers"),
        ({"target": ""}, "'' cannot fill the blank of the prompt 'The old man admires.*': no word for the gap; change"),
        ({"target": " "}, "'' cannot fill the blank"),
        ({"foil": TARGET}, "the tokens of 'this' begin with those of 'this', or the other way round: choose"),
        ({"prompt": "The ___ man\nadmires ___."}, r"the prompt 'The ___ man\\nadmires ___\.': more than one gap; "),
        (
            {"prompt": f"The old man {'and this ' * 20}admires ___"},
            "cannot fill the blank .* prompt is too long; change",
        ),
    ],
)
def test_bad_input_is_one_line(model: Model, changed: dict[str, Any], said: str) -> None:
    asked = {"prompt": prompt_of(model), "cue": "old man", "target": TARGET} | changed
    with pytest.raises(UserError, match=said) as error:
        kn_thesis.trace(model, **asked)
    assert "\n" not in str(error.value)


def test_a_prompt_too_long_is_one_line_where_the_tokenizer_knows_no_limit(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = f"The old man {'and this ' * 20}admires ___"
    object.__setattr__(model.tokenizer, "max_length", None)
    with pytest.raises(UserError, match=r"the prompt 'The old .*' is longer than the model's 24 positions: shorten it"):
        kn_thesis.trace(model, prompt, "old man", TARGET)
    object.__setattr__(model.tokenizer, "max_length", 24)


def test_the_frame_is_tidy(model: Model) -> None:
    found = kn_thesis.trace(model, prompt_of(model), "old man", TARGET, **SETTINGS)
    table = found.frame()
    assert list(table) == ["position", "token", "role", "layer", "effect"]
    assert len(table) == found.effects.size
    for row in table.itertuples():
        assert row.token == found.tokens[row.position] and row.effect == found.effects[row.position, row.layer]
    first, last = found.cue
    role = dict(zip(table["position"], table["role"], strict=True))
    assert [role[first], role[last - 1], role[last], role[found.gap]] == [
        "cue first",
        "cue last",
        "gap" if last == found.gap else "first after",
        "gap",
    ]


def test_the_heat_map_stars_what_is_corrupted(model: Model) -> None:
    found = kn_thesis.trace(model, prompt_of(model), "old man", TARGET, kind="mlp", window=2, **SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = found.plot()
        figure.canvas.draw()
    axis, bar = figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert [label for label in labels if label.endswith("*")] == ["old*", "man*"]
    assert [label.removesuffix("*") for label in labels] == found.tokens
    np.testing.assert_array_equal(axis.images[0].get_array(), found.effects)
    assert axis.get_title() == f"MLP outputs\nP(this): {found.clean:.3g} → {found.corrupted:.3g}"
    assert axis.get_xlabel() == "middle of 2 layers" and bar.get_ylabel() == "indirect effect"
    low, high = axis.images[0].get_clim()
    assert low == min(0, found.effects.min()) and high == found.effects.max()
    titles = [
        kn_thesis.trace(model, prompt_of(model), "man", TARGET, **asked, **SETTINGS).plot().axes[0].get_title()
        for asked in ({"kind": "severed_mlp"}, {"foil": "those"})
    ]
    assert titles[0].startswith(RESTORED_WORDS["severed_mlp"]) and "P(this) against P(those): " in titles[1]
