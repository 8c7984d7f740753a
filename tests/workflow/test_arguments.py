"""Everyday Python values as arguments of the library: accepted as meant, or refused in one line that names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kn_thesis
from kn_thesis.errors import UserError
from kn_thesis.models.load import Model
from tests.helpers.tiny_models import loaded_model
from tests.helpers.tiny_tokenizers import TEXT

PROMPTS = ["The old man admires", "That man admires"]
TARGETS = ["this", "those"]
NEURONS = [(0, 3), (2, 5)]
TRACED: dict[str, Any] = {"draws": 1, "require_first_choice": False}
HALF = "The \ud800 man admires"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded_model("gpt2", tmp_path_factory.mktemp("gpt2"), [*TEXT, *["That man admires those vases."] * 20])


def filtered(values: list[str]) -> pd.Series:
    """A column of a table after selecting rows, whose labels differ from its positions."""
    table = pd.DataFrame({"text": ["left out", *values], "kept": [False] + [True] * len(values)})
    return table[table["kept"]]["text"]


LISTED: dict[str, Callable[[list[str]], Any]] = {
    "tuple": tuple,
    "array": lambda values: np.array(values, dtype=object),
    "array of numpy's texts": np.array,
    "column": pd.Series,
    "filtered column": filtered,
    "column of pandas' texts": lambda values: pd.Series(values, dtype="string"),
    "categories": lambda values: pd.Series(values, dtype="category"),
    "index": pd.Index,
    "generator": lambda values: (value for value in values),
}


@pytest.mark.parametrize("listed", LISTED.values(), ids=LISTED)
def test_anything_with_an_order_is_a_list(model: Model, listed: Callable[[list[str]], Any]) -> None:
    plain = kn_thesis.attribute(model, PROMPTS, TARGETS, nodes=2)
    attribution = kn_thesis.attribute(model, listed(PROMPTS), listed(TARGETS), nodes=2)
    np.testing.assert_array_equal(attribution.scores, plain.scores)
    neurons, same = (kn_thesis.select_neurons(plain.scores, groups) for groups in (listed(TARGETS), TARGETS))
    pd.testing.assert_frame_equal(neurons, same)
    changes = kn_thesis.suppress(model, listed(PROMPTS), NEURONS, listed(TARGETS))
    pd.testing.assert_frame_equal(changes, kn_thesis.suppress(model, PROMPTS, NEURONS, TARGETS))
    with kn_thesis.edit(
        model, PROMPTS[0], "old man", "those", editor="rome", contexts=listed(["A king smiles."]), require_new=False
    ) as edited:
        assert list(edited.probabilities(PROMPTS[0], listed(TARGETS))["word"]) == TARGETS


def test_neurons_come_as_pairs_of_any_kind(model: Model) -> None:
    plain = kn_thesis.suppress(model, PROMPTS, NEURONS, TARGETS)
    table = pd.DataFrame(NEURONS, columns=["layer", "neuron"], index=[7, 9])
    forms = (np.array(NEURONS), np.array(NEURONS, dtype=np.int8), set(NEURONS), [list(pair) for pair in NEURONS])
    for neurons in (*forms, table, table.astype("Int64"), zip(*zip(*NEURONS, strict=True), strict=True)):
        pd.testing.assert_frame_equal(kn_thesis.suppress(model, PROMPTS, neurons, TARGETS), plain)


def test_whole_numbers_may_be_those_of_numpy(model: Model) -> None:
    attribution = kn_thesis.attribute(model, PROMPTS, TARGETS, nodes=np.int64(2), batch_tokens=np.int32(500))
    np.testing.assert_array_equal(
        attribution.scores, kn_thesis.attribute(model, PROMPTS, TARGETS, nodes=2, batch_tokens=500).scores
    )
    settings = TRACED | {"draws": np.int64(1), "window": np.int64(2), "seed": np.uint8(1)}
    kn_thesis.trace(model, PROMPTS[0], "man", "this", **settings)


def test_noise_is_taken_as_meng_et_al_write_it(model: Model) -> None:
    effects = [
        kn_thesis.trace(model, PROMPTS[0], "man", "this", noise=noise, **TRACED).effects
        for noise in ("s2.5", 2.5, np.float32(2.5), "s3", 3)
    ]
    np.testing.assert_array_equal(effects[0], effects[1])
    np.testing.assert_array_equal(effects[1], effects[2])
    np.testing.assert_array_equal(effects[3], effects[4])
    assert np.abs(effects[0] - effects[3]).max() > 0


ATTRIBUTED: list[tuple[dict[str, Any], str]] = [
    ({"prompts": None}, "^prompts is None: give a list$"),
    ({"prompts": "The man"}, "^prompts is a list: put a single one in brackets"),
    ({"prompts": {"a": "b"}}, "^prompts is {'a': 'b'}: give a list"),
    ({"prompts": pd.DataFrame({"prompt": PROMPTS})}, "^prompts is .*: give a list"),
    ({"prompts": [PROMPTS[0], None]}, "^prompts: entry 1 is None: give a text"),
    ({"prompts": pd.Series([PROMPTS[0], np.nan])}, "^prompts: entry 1 is nan: give a text"),
    ({"prompts": [b"The man", "A man"]}, "^prompts: entry 0 is b'The man': give a text"),
    ({"prompts": [HALF, HALF]}, r"^prompts: entry 0 has an unpaired surrogate, '\\ud800', at 4"),
    ({"targets": [3, 4]}, "^targets: entry 0 is 3: give a text"),
    ({"targets": 3}, "^targets is 3: give a list of texts"),
    ({"targets": ["this"]}, "^2 prompts need as many targets, got 1"),
    ({"nodes": 2.0}, "^nodes is 2.0: give a whole number"),
    ({"nodes": "5"}, "^nodes is '5': give a whole number"),
    ({"nodes": True}, "^nodes is True: give a whole number"),
    ({"nodes": None}, "^nodes is None: give a whole number"),
    ({"batch_tokens": 0.5}, "^batch_tokens is 0.5: give a whole number, 1 or more"),
    ({"quadrature": None}, "^unknown quadrature None"),
    ({"neuron": None}, "^unknown neuron None"),
]
SUPPRESSED: list[tuple[dict[str, Any], str]] = [
    ({"prompts": [None]}, "^prompts: entry 0 is None: give a text"),
    ({"prompts": [HALF]}, "^prompts: entry 0 has an unpaired surrogate"),
    ({"prompts": pd.Series([], dtype=object)}, "^prompts is a list with at least one entry: it is empty"),
    ({"words": [1945]}, "^words: entry 0 is 1945: give a text"),
    ({"words": {"this", "those"}}, "^words is .*: give a list with at least one entry"),
    ({"neurons": None}, "^neurons is None: give a list"),
    ({"neurons": 3}, "^neurons is 3: give a list"),
    ({"neurons": (0, 3)}, "^neurons are pairs of whole numbers"),
    ({"neurons": [(0, 3), (1,)]}, "^neurons are pairs of whole numbers"),
    ({"neurons": ["03"]}, "^neurons are pairs of whole numbers"),
    ({"neurons": pd.DataFrame({"neuron": [3]})}, "^the table of neurons has no column 'layer': give layer and neuron"),
    ({"neurons": pd.DataFrame({"layer": [0.0], "neuron": [3]})}, "^neurons are pairs of whole numbers"),
    ({"operation": None}, "^unknown operation None"),
    ({"operation": ["erase"]}, r"^unknown operation \['erase'\]"),
    ({"batch_tokens": "many"}, "^batch_tokens is 'many': give a whole number, 1 or more"),
]
TRACES: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "^prompt is None: give a text"),
    ({"prompt": HALF}, "^prompt has an unpaired surrogate"),
    ({"cue": None}, "^cue is None: give a text"),
    ({"cue": ["man"]}, r"^cue is \['man'\]: give a text"),
    ({"target": 3}, "^target is 3: give a text"),
    ({"foil": 3}, "^foil is 3: give a text"),
    ({"draws": 2.5}, "^draws is 2.5: give a whole number"),
    ({"noise": "3"}, "^noise is '3': give a number of standard deviations, as 3.0 or 's3'"),
    ({"noise": "sigma"}, "^noise is 'sigma': give a number"),
    ({"noise": float("nan")}, "^noise is nan: give a number"),
    ({"noise": float("inf")}, "^noise is inf: give a number"),
    ({"noise": None}, "^noise is None: give a number"),
    ({"window": True}, "^window is True: give a whole number of layers"),
    ({"batch_tokens": None}, "^batch_tokens is None: give a whole number"),
    ({"seed": "1"}, "^seed is '1': give a whole number"),
    ({"kind": None}, "^unknown kind None"),
]
EDITED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "^prompt is None: give a text"),
    ({"prompt": HALF}, "^prompt has an unpaired surrogate"),
    ({"subject": np.nan}, "^subject is nan: give a text"),
    ({"old": 3}, "^old is 3: give a text"),
    ({"editor": None}, "^unknown editor None"),
    ({"editor": ["rome"]}, r"^unknown editor \['rome'\]"),
    ({"covariance": True}, "^covariance is True: give the covariance, or the file"),
    ({"covariance": np.eye(24)}, "^covariance is .*: give the covariance, or the file"),
    ({"contexts": 5}, "^contexts is 5: give a list"),
    ({"contexts": [HALF]}, "^contexts: entry 0 has an unpaired surrogate"),
    ({"paraphrases": None}, "^paraphrases is None: give a list of texts"),
    ({"paraphrases": [3], "editor": "knowledge_neuron"}, "^paraphrases: entry 0 is 3: give a text"),
    ({"seed": 1.5}, "^seed is 1.5: give a whole number"),
]


def refused(said: str, call: Callable[[], Any]) -> None:
    with pytest.raises(UserError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("changed", "said"), ATTRIBUTED)
def test_attribute(model: Model, changed: dict[str, Any], said: str) -> None:
    refused(said, lambda: kn_thesis.attribute(model, **({"prompts": PROMPTS, "targets": TARGETS} | changed)))


@pytest.mark.parametrize(("changed", "said"), SUPPRESSED)
def test_suppress(model: Model, changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"prompts": PROMPTS, "neurons": NEURONS, "words": TARGETS} | changed
    refused(said, lambda: kn_thesis.suppress(model, **arguments))


@pytest.mark.parametrize(("changed", "said"), TRACES)
def test_trace(model: Model, changed: dict[str, Any], said: str) -> None:
    arguments = {"prompt": PROMPTS[0], "cue": "man", "target": "this"} | TRACED | changed
    refused(said, lambda: kn_thesis.trace(model, **arguments))


@pytest.mark.parametrize(("changed", "said"), EDITED)
def test_edit(model: Model, changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"prompt": PROMPTS[0], "subject": "old man", "target": "those"} | changed
    refused(said, lambda: kn_thesis.edit(model, **arguments).__enter__())


def test_what_an_edited_model_is_asked(model: Model) -> None:
    with kn_thesis.edit(model, PROMPTS[0], "old man", "those", editor="rome", require_new=False) as edited:
        refused("^text is None: give a text", lambda: edited.complete(None))
        refused("^text has an unpaired surrogate", lambda: edited.complete(HALF))
        refused("^tokens is 2.0: give a whole number, 1 or more", lambda: edited.complete(PROMPTS[0], 2.0))
        refused("^prompt is None: give a text", lambda: edited.probabilities(None, TARGETS))
        refused("^words: entry 0 is 3: give a text", lambda: edited.probabilities(PROMPTS[0], [3]))


SCORES = np.array([[[1.0, 0.5, 0.0]], [[1.0, 0.4, 0.1]]])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"groups": None}, "^groups is None: give a list"),
        ({"groups": "ab"}, "^groups is a list: put a single one in brackets"),
        ({"groups": ["a"]}, r"^scores of shape \(2, 1, 3\) and 1 groups"),
        ({"scores": None}, "^scores of shape"),
        ({"scores": np.array([[["a"]], [["b"]]])}, "^scores of shape"),
        *(
            ({"share": value}, f"^share must be at least 0 and below 1, got {value}")
            for value in (70, 1, 1.5, -1, -0.1)
        ),
        *(({"coarse": value}, f"^coarse must be at least 0 and below 1, got {value}") for value in (20, 1, -0.1)),
        ({"share": float("nan")}, "^share must be at least 0 and below 1, got nan"),
        ({"share": "0.7"}, "^share is '0.7': give a number"),
        ({"coarse": None}, "^coarse is None: give a number"),
        ({"coarse": True}, "^coarse is True: give a number"),
    ],
)
def test_select_neurons(changed: dict[str, Any], said: str) -> None:
    refused(said, lambda: kn_thesis.select_neurons(**({"scores": SCORES, "groups": ["a", "a"]} | changed)))


def test_every_share_that_is_allowed_selects() -> None:
    """One neuron has half of the largest score and is coarse in both prompts; the other has a tenth and is in none."""
    numbers = [len(kn_thesis.select_neurons(SCORES, ["a", "a"], share=share)) for share in (0, 0.0, 0.7, 0.999)]
    assert numbers == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("source", "changed", "said"),
    [
        (None, {}, "^the model is None: give a folder, or an id on the hub"),
        (3, {}, "^the model is 3: give a folder"),
        (b"bert", {}, "^the model is b'bert': give a folder"),
        (Path("bert"), {"gpus": 1.5}, "^gpus is 1.5: give a whole number, 1 or more"),
        (Path("bert"), {"dtype": None}, "^unknown dtype None"),
    ],
)
def test_load_model(source: Any, changed: dict[str, Any], said: str) -> None:
    refused(said, lambda: kn_thesis.load_model(source, **changed))
