"""Readings at a blank, which prompt and word their answers belong to, and which neurons are changed together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kn_thesis.corpora.blanks import CannotExpress
from kn_thesis.models.cloze import Encoded, GapTokenizer
from kn_thesis.suppression.sets import NeuronSet, random_sets, selected_sets
from kn_thesis.suppression.task import TOO_LONG, Queries, run_queries
from tests.helpers.tiny_tokenizers import byte_level, metaspace, save_model, wordpiece

TOKENIZERS = {"bert": wordpiece, "gpt2": byte_level, "llama": metaspace}
WORDS = ["this", "that", "the", "helpless", "ω"]
TEXTS = [("The old king admires", " vase.", "this", "these"), ("", " kings admire this vase.", "These", None)]


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> GapTokenizer:
    return GapTokenizer.from_folder(save_model(tmp_path, TOKENIZERS[request.param](), request.param))


def asked_of(tokenizer: GapTokenizer, words: Sequence[str] = WORDS, most: int = 4) -> tuple[list[dict], Queries]:
    texts = TEXTS if tokenizer.unknown_id is not None else TEXTS[:1]  # the others cannot begin with the blank
    prompts = []
    for prefix, suffix, *pair in texts:
        encoded = [word and tokenizer.encode(prefix, suffix, word) for word in pair]
        prompts.append({"prefix": prefix, "suffix": suffix, "target": encoded[0], "foil": encoded[1]})
    return prompts, run_queries(tokenizer, prompts, words, most)


def answer(ids: Sequence[int], gap: int, token: int) -> float:
    """A number that is unique to one question."""
    return float(np.random.default_rng([*ids, gap, token]).normal())


def answers_of(questions: Queries) -> list[np.ndarray]:
    return [np.array([answer(one.input_ids, one.gap, token) for token in one.targets]) for one in questions.readings]


def step_by_step(tokenizer: GapTokenizer, encoded: Encoded) -> float:
    total = 0.0
    for j, token in enumerate(encoded.target_ids):
        ids = list(encoded.input_ids)
        if tokenizer.mask_id is None:
            ids += encoded.target_ids[:j]
        else:
            assert ids[encoded.gap : encoded.gap + len(encoded.target_ids)] == [tokenizer.mask_id] * len(
                encoded.target_ids
            )
            ids[encoded.gap : encoded.gap + j] = encoded.target_ids[:j]
        total += answer(ids, encoded.gap + j, token)
    return total


def test_a_word_is_the_product_of_its_steps(tokenizer: GapTokenizer) -> None:
    prompts, questions = asked_of(tokenizer)
    found = questions.gather(answers_of(questions), len(prompts), len(WORDS) + 2)
    several = 0
    for prompt, row in zip(prompts, found, strict=True):
        for column, word in enumerate(WORDS[:3]):
            if reason_of(tokenizer, prompt, word, 4):
                continue
            capital = word if prompt["prefix"] else word.capitalize()
            encoded = tokenizer.encode(prompt["prefix"], prompt["suffix"], capital)
            several += len(encoded.target_ids) > 1
            assert row[column] == pytest.approx(step_by_step(tokenizer, encoded))
        assert row[-2] == pytest.approx(step_by_step(tokenizer, prompt["target"]))
        if prompt["foil"]:
            assert row[-1] == pytest.approx(step_by_step(tokenizer, prompt["foil"]))
    assert several


def test_answers_keep_their_further_axes(tokenizer: GapTokenizer) -> None:
    prompts, questions = asked_of(tokenizer)
    flat = answers_of(questions)
    found = questions.gather([np.stack([x, 3 * x], axis=1) for x in flat], len(prompts), len(WORDS) + 2)
    assert found.shape == (len(prompts), len(WORDS) + 2, 2)
    np.testing.assert_allclose(found[..., 1], 3 * questions.gather(flat, len(prompts), len(WORDS) + 2))


def test_each_text_is_read_once(tokenizer: GapTokenizer) -> None:
    _, questions = asked_of(tokenizer, ["this", "the", "The"])
    texts = [(one.input_ids, one.gap, place) for one, place in zip(questions.readings, starts(questions), strict=True)]
    assert len(set(texts)) == len(texts)
    assert len(questions.readings[0].targets) >= 3  # words of one token share their text
    assert len(questions.place) == sum(len(one.targets) for one in questions.readings)


def starts(questions: Queries) -> list[int]:
    """The prompt that each reading belongs to."""
    first = np.cumsum([0, *(len(one.targets) for one in questions.readings)])[:-1]
    return questions.place[first, 0].tolist()


def reason_of(tokenizer: GapTokenizer, prompt: dict, word: str, most: int) -> str | None:
    try:
        encoded = tokenizer.encode(prompt["prefix"], prompt["suffix"], word if prompt["prefix"] else word.capitalize())
    except CannotExpress as error:
        return error.reason
    return TOO_LONG if len(encoded.target_ids) > most else None


def test_words_left_out_have_a_reason(tokenizer: GapTokenizer) -> None:
    prompts, questions = asked_of(tokenizer, most=3)
    expected = {
        (number, column): reason_of(tokenizer, prompt, word, 3)
        for number, prompt in enumerate(prompts)
        for column, word in enumerate(WORDS)
    }
    expected |= {(number, 6): "no foil" for number, prompt in enumerate(prompts) if not prompt["foil"]}
    assert questions.reasons == {key: reason for key, reason in expected.items() if reason}
    assert questions.reasons[0, 3] == TOO_LONG and (0, 0) not in questions.reasons
    assert tokenizer.unknown_id is None or questions.reasons[0, 4] == "unknown word"
    found = questions.gather(answers_of(questions), len(prompts), len(WORDS) + 2)
    assert {tuple(at) for at in np.argwhere(np.isnan(found))} == questions.reasons.keys()


def test_nothing_before_the_gap(tmp_path: Path) -> None:
    tokenizer = GapTokenizer.from_folder(save_model(tmp_path, byte_level(), "gpt2"))
    prompt = {"prefix": "", "suffix": " king.", "target": Encoded((1, 2), 1, (3,)), "foil": None}
    questions = run_queries(tokenizer, [prompt], ["this"], 4)
    assert questions.reasons == {(0, 0): "nothing before the gap", (0, 2): "no foil"}
    assert run_queries(tokenizer, [], ["this"], 4).gather([], 0, 3).shape == (0, 3)


def scores_of(peaks: Sequence[Sequence[tuple[int, int]]], layers: int = 3, width: int = 8) -> np.ndarray:
    """Scores in which each prompt's peaks alone are coarse."""
    scores = np.full((len(peaks), layers, width), 0.1, dtype=np.float32)
    for number, places in enumerate(peaks):
        for place in places:
            scores[(number, *place)] = 1
    return scores


A, B, C, D = (0, 3), (1, 4), (2, 5), (2, 1)
GROUPS = {"this": [[C, A]] * 3, "that": [[C], [A]], "those": [[B, C]] * 2, "these": [[D, B, C]]}


def grouped() -> tuple[np.ndarray, list[str], list[str]]:
    names = [name for name, peaks in GROUPS.items() for _ in peaks]
    numbers = ["singular" if name in ("this", "that") else "plural" for name in names]
    return scores_of([peaks for group in GROUPS.values() for peaks in group]), names, numbers


def test_sets_of_targets_and_numbers() -> None:
    found = {(one.kind, one.name): one for one in selected_sets(*grouped())}
    assert [(*key, one.prompts, one.members, one.draw) for key, one in found.items()] == [
        ("target", "that", 2, "", 0),
        ("target", "these", 1, "1.4 2.1 2.5", 0),
        ("target", "this", 3, "0.3 2.5", 0),
        ("target", "those", 2, "1.4 2.5", 0),
        ("number", "singular", 5, "0.3", 0),
        ("number", "plural", 3, "1.4", 0),
        ("number", "shared", 8, "2.5", 0),
    ]
    assert all(one.layer.dtype.kind == one.neuron.dtype.kind == "i" for one in found.values())


def test_thresholds_are_heeded() -> None:
    loose = {one.name: one.members for one in selected_sets(*grouped(), share=0.4)}
    assert loose["that"] == "0.3 2.5" and loose["shared"] == "2.5"
    coarse = {one.name: len(one.layer) for one in selected_sets(*grouped(), coarse=0.05)}
    assert coarse["that"] == 24 and coarse["singular"] == coarse["plural"] == 0 and coarse["shared"] == 24


@pytest.mark.parametrize("numbers", [["plural"] * 8, [""] * 8, ["singular", *[""] * 7]])
def test_no_sets_of_numbers_without_both(numbers: list[str]) -> None:
    scores, names, _ = grouped()
    assert [(one.kind, one.name) for one in selected_sets(scores, names, numbers)] == [
        ("target", name) for name in ("that", "these", "this", "those")
    ]


def test_prompts_of_no_number_are_no_number_s() -> None:
    scores, names, numbers = grouped()
    numbers[3:5] = ["", ""]
    found = {one.name: one for one in selected_sets(scores, names, numbers)}
    assert found["singular"].prompts == 3 and found["shared"].prompts == 6 and found["singular"].members == "0.3"


def one_set(*members: tuple[int, int], name: str = "this", kind: str = "target") -> NeuronSet:
    layer, neuron = np.array(sorted(members), dtype=int).reshape(-1, 2).T
    return NeuronSet(name, kind, 5, layer, neuron)


MEANS = np.random.default_rng(4).normal(size=(3, 40))


def test_random_sets_are_like_the_set() -> None:
    chosen = one_set((0, 3), (2, 5), (2, 6), (2, 30))
    found = random_sets(chosen, MEANS, 50, 10, 1)
    assert [one.draw for one in found] == list(range(1, 51))
    members = set(zip(chosen.layer, chosen.neuron, strict=True))
    for one in found:
        drawn = list(zip(one.layer, one.neuron, strict=True))
        assert one.layer.tolist() == chosen.layer.tolist() and drawn == sorted(set(drawn))
        assert not members & set(drawn)
        assert (one.name, one.kind, one.prompts) == ("this", "target", 5)
    assert len({one.members for one in found}) > 40


def test_random_neurons_are_the_nearest_in_mean_activation() -> None:
    distance = np.abs(MEANS[1] - MEANS[1, 7])
    distance[7] = np.inf
    near = set(np.argsort(distance)[:6].tolist())
    assert {int(one.neuron[0]) for one in random_sets(one_set((1, 7)), MEANS, 200, 6, 1)} == near
    # Neurons of one mean, with one neighbour each to choose from: the second takes what the first has left.
    means = np.array([[0, 0, 1, 2, 50, 60.0]])
    assert {one.members for one in random_sets(one_set((0, 0), (0, 1)), means, 20, 1, 1)} == {"0.2 0.3"}


def test_random_sets_depend_on_seed_and_set_alone() -> None:
    def members(chosen: NeuronSet, sets: int = 5, seed: int = 1) -> list[str]:
        return [one.members for one in random_sets(chosen, MEANS, sets, 10, seed)]

    chosen = one_set((0, 3), (2, 5))
    first = members(chosen)
    members(one_set((1, 3)))
    assert members(chosen) == first and members(chosen, 3) == first[:3]
    others = [members(chosen, seed=2), members(one_set((0, 3), (2, 5), name="that"))]
    others.append(members(one_set((0, 3), (2, 5), kind="number")))
    assert all(other != first for other in others)


def test_no_random_sets_without_neurons_to_draw() -> None:
    assert random_sets(one_set(), MEANS, 5, 10, 1) == []
    means = MEANS[:, :6]
    assert random_sets(one_set((0, 1), (2, 0), (2, 1), (2, 2), (2, 3)), means, 5, 10, 1) == []
    assert [one.members for one in random_sets(one_set((2, 0), (2, 2), (2, 4)), means, 2, 10, 1)] == ["2.1 2.3 2.5"] * 2
    assert random_sets(one_set((0, 1)), means, 0, 10, 1) == []
