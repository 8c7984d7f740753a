"""`kn_thesis.edit`: one edit in force for a block, seen through the untouched Hugging Face model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import kn_thesis
from kn_thesis.corpora.gaps import Encoded
from kn_thesis.editing import fine_tuning, knowledge_neuron, library, one_request, rome, values
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.editors import EDITORS
from kn_thesis.editing.given_settings import scaled_layer
from kn_thesis.editing.request import Request
from kn_thesis.editing.update import Update
from kn_thesis.errors import UserError
from kn_thesis.models.families import FAMILIES
from kn_thesis.models.load import Model, load_model
from tests.tiny_models import loaded_model
from tests.tiny_tokenizers import TEXT

OLD, TARGET, LONG = "this", "those", "mans"  # the last has two tokens
CAUSAL = ("gpt2", "llama")
EDITED_BY = [*((family, editor) for family in CAUSAL for editor in EDITORS), ("bert", "knowledge_neuron")]
# Enough for every editor to change a random model.
SETTINGS: dict[str, dict[str, Any]] = {
    "rome": {"token": "last", "weight_decay": 1e-3},
    "fine_tuning": {"learning_rate": 0.05, "norm": 0.5},
    "knowledge_neuron": {"coarse": 0.1},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Model]:
    """Models by family and dtype; in those of float64, the first choice at the prompt's gap is OLD."""
    folders: dict[str, Path] = {}
    found: dict[tuple[str, str], Model] = {}

    def get(family: str, dtype: str = "float64") -> Model:
        if family not in folders:
            folders[family] = tmp_path_factory.mktemp(family)
            text = [*TEXT, *["That man admires those vases."] * 20]
            model = loaded_model(family, folders[family], text, tie_word_embeddings=False)
            if family in CAUSAL:  # a whole word of its own is one that another follows
                answer_with(model, f"{prompt_of(model)} {OLD}", "vases")
            answer_with(model, prompt_of(model), OLD)
            found[family, "float64"] = model
        if (family, dtype) not in found:
            found[family, dtype] = load_model(folders[family], dtype=dtype, device="cpu", attention="sdpa")
        return found[family, dtype]

    return get


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, models: Callable[..., Model]) -> Model:
    return models(request.param)


@pytest.fixture(params=CAUSAL)
def causal(request: pytest.FixtureRequest, models: Callable[..., Model]) -> Model:
    return models(request.param)


@pytest.fixture
def gpt2(models: Callable[..., Model]) -> Model:
    return models("gpt2")


def prompt_of(model: Model) -> str:
    return "The old man admires ___ vases." if model.adapter.objective == "masked" else "The old man admires"


def asked(model: Model, editor: str = "rome", **changes: Any) -> dict[str, Any]:
    return {"prompt": prompt_of(model), "subject": "old man", "target": TARGET, "editor": editor} | changes


def edit_by(model: Model, editor: str = "rome", **changes: Any) -> Any:
    return kn_thesis.edit(model, **(asked(model, editor) | SETTINGS[editor] | changes))


def answer_with(model: Model, prompt: str, word: str) -> None:
    """Turn the word's row of the output matrix towards the prompt's last state: it becomes the first choice."""
    one = model.tokenizer.encode_prompt(prompt, word)
    output, seen = model.module.get_output_embeddings(), []
    hook = output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, one.gap]))
    logits = model.module(torch.tensor([one.input_ids])).logits[0, one.gap]
    hook.remove()
    with torch.no_grad():
        missing = logits.logsumexp(-1) + 1 - logits[one.target_ids[0]]
        output.weight[one.target_ids[0]] += missing * seen[0] / seen[0].square().sum()


def plain_probability(model: Model, one: Encoded) -> float:
    """Product over the word's tokens of what the untouched forward gives each, those before it filled in."""
    found, ids, words = 1.0, list(one.input_ids), list(one.target_ids)
    for number, token in enumerate(words):
        if model.adapter.objective == "causal":
            seen = ids + words[:number]
        else:
            seen = ids[: one.gap] + words[:number] + ids[one.gap + number :]
        with torch.no_grad():
            logits = model.module(torch.tensor([seen])).logits[0, one.gap + number]
        found *= float(logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)[token])
    return found


def plain_probabilities(model: Model, words: list[str]) -> list[float]:
    return [plain_probability(model, model.tokenizer.encode_prompt(prompt_of(model), word)) for word in words]


def plain_text(model: Model, text: str, tokens: int) -> str:
    """The most probable token again and again, by whole forwards."""
    start = model.tokenizer.tokenizer.encode(text).ids
    ids = list(start)
    for _ in range(tokens):
        with torch.no_grad():
            best = int(model.module(torch.tensor([ids])).logits[0, -1].argmax())
        if best == model.module.config.eos_token_id:
            break
        ids.append(best)
    return model.tokenizer.tokenizer.decode(ids[len(start) :]).rstrip("\ufffd")


def state_of(model: Model) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.module.state_dict().items()}


def changed(model: Model, before: dict[str, Tensor]) -> list[str]:
    """Names of tensors that are not bit for bit what they were."""
    now = model.module.state_dict()
    assert list(now) == list(before)
    return [name for name, value in now.items() if not torch.equal(bits(value), bits(before[name]))]


def bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)


@pytest.fixture(autouse=True)
def nothing_stays(models: Callable[..., Model]) -> Iterator[None]:
    """After every test each model's tensors, hooks and gradients are what they were."""
    known = [models(family) for family in FAMILIES]
    before = [state_of(model) for model in known]
    yield
    for model, state in zip(known, before, strict=True):
        assert changed(model, state) == []
        for module in model.module.modules():
            assert not module._forward_hooks and not module._forward_pre_hooks
        assert all(weight.grad is None and not weight.requires_grad for weight in model.module.parameters())


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_the_model_itself_answers_as_the_edit_says(
    models: Callable[..., Model], family: str, editor: str, dtype: str
) -> None:
    model = models(family, dtype)
    state, words = state_of(model), [OLD, TARGET, LONG]
    before = plain_probabilities(model, words)
    close = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.05}[dtype]
    with edit_by(model, editor, old=OLD) as edited:
        names = changed(model, state)
        assert len(names) == len(edited.layers) > 0
        for layer, name in zip(edited.layers, names, strict=True):
            assert f".{layer}." in name and model.adapter.value_weight(layer).shape == (16, 24)
        after = plain_probabilities(model, words)
        table = edited.probabilities(prompt_of(model), words)
        assert list(table) == ["word", "before", "after"] and list(table["word"]) == words
        np.testing.assert_allclose(table["before"], before, rtol=close)
        np.testing.assert_allclose(table["after"], after, rtol=close)
        assert abs(after[1] / before[1] - 1) > 0.01
        assert changed(model, state) == names  # and asking left the edit in force
        if family in CAUSAL and dtype == "float64":
            text = "The old king admires"
            assert edited.complete(text, 6) == " ".join(plain_text(model, text, 6).split())
    assert changed(model, state) == []
    assert plain_probabilities(model, words) == before


@pytest.mark.parametrize("editor", ["rome", "fine_tuning"])
def test_edits_reach_their_target(causal: Model, editor: str) -> None:
    with edit_by(causal, editor) as edited:
        table = edited.probabilities(f"{prompt_of(causal)} ___", [OLD, TARGET]).set_index("word")
        assert table["before"].idxmax() == OLD and table["after"].idxmax() == TARGET
        assert np.exp(-edited.loss) == pytest.approx(table.loc[TARGET, "after"], rel=0.5)
        assert edited.complete(prompt_of(causal), 1) == TARGET
        assert edited.complete(f"{prompt_of(causal)} ___", 1, before=True) == OLD
    assert (edited.editor, edited.old, edited.subject, edited.target) == (editor, OLD, "old man", TARGET)
    assert edited.prompt == prompt_of(causal) and 1 < edited.steps <= 25


def plain_request(model: Model, subject_token: int, **more: Any) -> Request:
    """What `edit` is expected to ask the editors for, put together by hand."""
    prompt, (start, _, end) = prompt_of(model), prompt_of(model).partition("___")
    new, old = (model.tokenizer.encode_prompt(prompt, word) for word in (TARGET, OLD))
    where = {"prefix": start.strip(), "suffix": end, "subject": "old man", "subject_at": 4}
    words = {"old": OLD, "new": TARGET, "new_prompt": new, "old_prompt": old}
    return Request("e", "t", "relation", "c", **where, **words, subject_token=subject_token, **more)


@pytest.mark.parametrize("editor", ["rome", "fine_tuning", "knowledge_neuron"])
def test_the_weights_are_those_that_the_editor_finds(gpt2: Model, editor: str) -> None:
    spelt = [gpt2.tokenizer.tokenizer.id_to_token(token) for token in asked_ids(gpt2)]
    assert spelt[2:3] == ["Ġman"]
    other = "This man admires"
    more = {"paraphrases": [other]} if editor == "knowledge_neuron" else {}
    own = {"paraphrases": tuple(gpt2.tokenizer.encode_prompt(text, OLD) for text in (prompt_of(gpt2), other))}
    request = plain_request(gpt2, 2, **own)
    settings = {
        "rome": rome.Settings(layer=1, steps=4, kl=0.5),
        "fine_tuning": fine_tuning.Settings(layer=2, steps=4, norm=0.01),
        "knowledge_neuron": knowledge_neuron.Settings(old=2.0, new=3.0, coarse=0.1, share=0.4, nodes=3),
    }[editor]
    given = {
        "rome": {"layer": 1, "steps": 4, "kl": 0.5},
        "fine_tuning": {"layer": 2, "steps": 4, "norm": 0.01},
        "knowledge_neuron": {"old_factor": 2, "new_factor": 3.0, "coarse": 0.1, "share": 0.4, "nodes": 3},
    }[editor]
    [found] = EDITORS[editor].find(gpt2, [request], settings)
    weights = {update.layer: gpt2.adapter.value_weight(update.layer) + update.matrix() for update in found.updates}
    with kn_thesis.edit(gpt2, **asked(gpt2, editor), **given, **more) as edited:
        assert edited.layers == tuple(sorted(weights)) and edited.steps == found.steps
        for layer, weight in weights.items():
            torch.testing.assert_close(gpt2.adapter.value_weight(layer), weight, rtol=1e-12, atol=1e-15)


def asked_ids(model: Model) -> tuple[int, ...]:
    return model.tokenizer.encode_prompt(prompt_of(model), TARGET).input_ids


def test_a_subject_behind_the_gap_of_a_masked_model(models: Callable[..., Model]) -> None:
    bert = models("bert")
    wanted = one_request.Wanted("The ___ man admires old vases.", " old vases ", "old")
    request = one_request.request_of(bert, wanted)
    filled = f"{request.prefix} {request.new}{request.suffix}"
    assert filled[request.subject_at :].startswith("old vases") and filled.count("old") == 2
    ids = bert.tokenizer.tokenizer.encode(filled).ids
    assert bert.tokenizer.tokenizer.decode(ids[: request.subject_token + 1]).endswith("vases")
    assert not bert.tokenizer.tokenizer.decode(ids[: request.subject_token]).endswith("vases")


@pytest.mark.parametrize(("layers", "layer"), [(48, 17), (1, 0), (2, 1), (3, 1), (4, 1), (12, 4), (32, 11), (96, 34)])
def test_the_layer_is_scaled_to_the_depth(layers: int, layer: int) -> None:
    assert scaled_layer(17, layers) == layer


@pytest.mark.parametrize("editor", ["rome", "fine_tuning"])
def test_without_a_layer_it_is_the_scaled_one(causal: Model, editor: str) -> None:
    with edit_by(causal, editor) as edited:
        assert edited.layers == (1,)
    with edit_by(causal, editor, layer=0, steps=3) as edited:
        assert edited.layers == (0,) and edited.steps == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_whatever_ends_the_block_brings_the_weights_back(
    models: Callable[..., Model], family: str, editor: str, error: type[BaseException]
) -> None:
    model, seen = models(family), []
    state = state_of(model)
    with pytest.raises(error), edit_by(model, editor) as edited:
        seen.append(changed(model, state))
        raise error
    assert seen[0] and changed(model, state) == []
    with pytest.raises(UserError, match="is over"):
        edited.probabilities(prompt_of(model), [OLD])


WITHIN = {"rome": (values, "_losses"), "fine_tuning": (fine_tuning, "leaving"), "knowledge_neuron": (None, "")}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_an_editor_that_is_stopped_leaves_nothing(
    models: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, family: str, editor: str, error: type[BaseException]
) -> None:
    model = models(family)
    state = state_of(model)
    module, name = {**WITHIN, "knowledge_neuron": (knowledge_neuron, "select_neurons")}[editor]
    after, calls, original = (0 if editor == "knowledge_neuron" else 2), [], getattr(module, name)

    def stop(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise error
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, stop)
    with pytest.raises(error), edit_by(model, editor):
        raise AssertionError("the block was entered")
    assert len(calls) == after + 1 and changed(model, state) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_one_that_is_stopped_between_two_matrices_leaves_nothing(
    model: Model, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    state, seen, original = state_of(model), [], Update.matrix

    def stop(update: Update) -> Tensor:
        seen.append(changed(model, state))
        if len(seen) == 2:
            raise error
        return original(update)

    monkeypatch.setattr(Update, "matrix", stop)
    with pytest.raises(error), edit_by(model, "knowledge_neuron", coarse=0.0, old=OLD):
        raise AssertionError("the block was entered")
    assert [len(names) for names in seen] == [0, 1] and changed(model, state) == []


def test_a_question_that_is_stopped_leaves_the_edit_in_force(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    state, seen = state_of(model), []

    def stop(*_: Any) -> None:
        seen.append(changed(model, state))
        raise KeyboardInterrupt

    with edit_by(model, "knowledge_neuron") as edited:
        inside = changed(model, state)
        within = state_of(model)
        monkeypatch.setattr(library, "target_log_probabilities", stop)
        with pytest.raises(KeyboardInterrupt):
            edited.probabilities(prompt_of(model), [OLD])
        assert seen == [[]]  # it was asking the model as it was
        assert changed(model, within) == [] and changed(model, state) == inside != []
    assert changed(model, state) == []


@pytest.mark.parametrize("layers", [(1, 1), (0, 2), (2, 0)])
def test_edits_are_nested_and_unwind_in_order(causal: Model, layers: tuple[int, int]) -> None:
    state, words = state_of(causal), [OLD, TARGET, "king"]
    start = plain_probabilities(causal, words)
    with edit_by(causal, layer=layers[0], target=TARGET) as outer:
        first, middle = state_of(causal), plain_probabilities(causal, words)
        with edit_by(causal, "fine_tuning", layer=layers[1], target="king") as inner:
            assert inner.old in (TARGET, "") and np.argmax(middle) == words.index(TARGET)  # "" before part of a word
            assert changed(causal, first) and len(changed(causal, state)) == len(set(layers))
            now = plain_probabilities(causal, words)
            table = inner.probabilities(prompt_of(causal), words)
            np.testing.assert_allclose(table["before"], middle, rtol=1e-9)
            np.testing.assert_allclose(table["after"], now, rtol=1e-9)
            np.testing.assert_allclose(outer.probabilities(prompt_of(causal), words)["after"], now, rtol=1e-9)
        assert changed(causal, first) == []
        table = outer.probabilities(prompt_of(causal), words)
        np.testing.assert_allclose(table["before"], start, rtol=1e-9)
        np.testing.assert_allclose(table["after"], middle, rtol=1e-9)
    assert changed(causal, state) == []


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_it_works_whatever_is_said_of_gradients(
    models: Callable[..., Model], family: str, editor: str, around: Callable[[], Any]
) -> None:
    model = models(family)
    state = state_of(model)
    with edit_by(model, editor) as edited:
        expected = edited.probabilities(prompt_of(model), [OLD, TARGET])
    with around(), edit_by(model, editor) as edited:
        found = edited.probabilities(prompt_of(model), [OLD, TARGET])
    np.testing.assert_allclose(found["after"], expected["after"], rtol=1e-9)
    assert changed(model, state) == []


def test_the_old_answer_is_the_model_s_own(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with edit_by(model, "knowledge_neuron") as edited:
        assert edited.old == OLD
        own = state_of(model)
    with edit_by(model, "knowledge_neuron", old=OLD):
        assert changed(model, own) == []
    with edit_by(model, "knowledge_neuron", old="vases") as edited:
        assert edited.old == "vases" and changed(model, own)
    monkeypatch.setattr(one_request, "first_word", lambda *_: None)
    with pytest.raises(UserError, match=f"first choice in the prompt '{prompt_of(model)}' is no whole word: say with"):
        edit_by(model, "knowledge_neuron").__enter__()
    if model.adapter.objective == "causal":
        with edit_by(model) as edited:
            assert edited.old == "" and edited.layers == (1,)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("mans vases.", "mans"),  # a word of two tokens, to its end
        ("this.", "this"),
        (". this", None),
        ("this" * 12, None),  # longer than is looked at
        ("", None),
    ],
)
def test_a_causal_model_s_own_word(gpt2: Model, monkeypatch: pytest.MonkeyPatch, said: str, word: str | None) -> None:
    one = gpt2.tokenizer.encode_prompt(prompt_of(gpt2), TARGET)
    tokens = gpt2.tokenizer.tokenizer.encode(f" {said}" if said[:1].isalpha() else said).ids
    monkeypatch.setattr(one_request, "continue_rows", lambda *_, **__: [tokens[: one_request.LONGEST_WORD]])
    assert one_request.first_word(gpt2, prompt_of(gpt2), one) == word
    # The same letters without a space before them go on with the word before the gap.
    tokens = gpt2.tokenizer.tokenizer.encode(said).ids
    assert one_request.first_word(gpt2, prompt_of(gpt2), one) is None


def test_a_masked_model_s_piece_of_a_word_is_no_word(
    models: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = models("bert")
    one = bert.tokenizer.encode_prompt(prompt_of(bert), LONG)
    assert one_request.first_word(bert, prompt_of(bert), one) == OLD
    piece = bert.tokenizer.tokenizer.token_to_id("##s")
    said = type("Said", (), {"says": np.array([piece])})()
    monkeypatch.setattr(one_request, "answers", lambda *_: ([said], [said]))
    assert one_request.first_word(bert, prompt_of(bert), one) is None


def test_it_wants_a_new_answer(model: Model) -> None:
    prompt = prompt_of(model)
    with pytest.raises(UserError, match=f"^'this' is the model's first choice in the prompt '{prompt}' already: ask"):
        edit_by(model, "knowledge_neuron", target=OLD).__enter__()
    with pytest.raises(UserError, match=r"^'those' is both the old answer and the target"):
        edit_by(model, "knowledge_neuron", old=TARGET).__enter__()
    with pytest.raises(UserError, match=r"^'this' is both the old answer and the target"):
        edit_by(model, "knowledge_neuron", target=OLD, require_new=False).__enter__()
    if model.adapter.objective == "causal":
        with edit_by(model, target=OLD, require_new=False) as edited:
            table = edited.probabilities(prompt, [OLD])
            assert table.loc[0, "after"] > table.loc[0, "before"] > 0.5
        # Where the loss is below `stop` from the first step on, there is nothing to change.
        with edit_by(model, target=OLD, require_new=False, stop=9.0) as edited:
            assert edited.steps == 1 and edited.loss < 9


BAD: list[tuple[dict[str, Any], str]] = [
    ({"subject": "Spain"}, "the subject 'Spain' is not .* the prompt 'The old man admires"),
    ({"subject": "ma"}, "the subject 'ma' is not .* the prompt"),
    ({"subject": " "}, "the subject is empty"),
    ({"subject": 3}, "subject is 3: give a text"),
    ({"target": ""}, "'' cannot fill the gap of the prompt 'The old man admires.*': no word for the gap; change"),
    ({"target": "  "}, "'  ' cannot fill the gap"),
    ({"target": "☃"}, "'☃' cannot fill the gap"),
    ({"old": "☃"}, "'☃' cannot fill the gap"),
    ({"old": ""}, "'' cannot fill the gap"),
    ({"target": None}, "target is None: give a text"),
    ({"editor": "romes"}, "unknown editor 'romes': choose one of rome, knowledge_neuron, fine_tuning"),
    (
        {"prompt": "The old man\nadmires ___ or ___."},
        r"the prompt 'The old man\\nadmires .*': more than one gap; write",
    ),
    ({"prompt": f"The old man {'and this ' * 20}admires ___"}, "prompt is too long; change"),
    ({"colour": 3}, "has no setting 'colour': choose of .*batch_"),
    ({"paraphrases": "This man admires"}, "paraphrases"),
    ({"editor": "knowledge_neuron", "paraphrases": "This man admires"}, "paraphrases is a list of texts: put a single"),
    (
        {"editor": "knowledge_neuron", "layer": 1},
        "knowledge_neuron has no setting 'layer': choose of old_factor, new",
    ),
    ({"editor": "knowledge_neuron", "shared": 0.5}, "knowledge_neuron has no setting 'shared'"),
    ({"editor": "knowledge_neuron", "contexts": ["A."]}, "knowledge_neuron uses no contexts: leave it out"),
    ({"editor": "knowledge_neuron", "share": 1.5}, "share is 1.5: give a number, 0 or more, 1 at most"),
    ({"editor": "knowledge_neuron", "coarse": -0.5}, "coarse is -0.5: give a number, 0 or more"),
    ({"editor": "knowledge_neuron", "coarse": 1.0}, "coarse must be at least 0 and below 1"),
    ({"editor": "knowledge_neuron", "nodes": 0}, "nodes is 0: give a whole number, 1 or more"),
    ({"editor": "knowledge_neuron", "quadrature": 3}, "quadrature is 3: give a text, such as 'gauss-legendre'"),
    ({"editor": "knowledge_neuron", "quadrature": "x"}, "x"),
    ({"editor": "knowledge_neuron", "old_factor": 0, "new_factor": 0}, "no weight changes; take more steps"),
]
BAD_CAUSAL: list[tuple[dict[str, Any], str]] = [
    ({"layer": 3}, "layer 3 is not there: the model has layers 0 to 2"),
    ({"layer": -1}, "layer -1 is not there: the model has layers 0 to 2"),
    ({"layer": 1.0}, r"layer is 1\.0: give a whole number, 0 or more"),
    ({"layer": 17, "editor": "fine_tuning"}, "layer 17 is not there"),
    ({"steps": 0}, "steps is 0: give a whole number, 1 or more"),
    ({"steps": True}, "steps is True: give a whole number"),
    ({"steps": 2.5}, r"steps is 2\.5: give a whole number"),
    ({"steps": "many", "editor": "fine_tuning"}, "steps is 'many': give a whole number"),
    ({"steps": 1}, "no weight changes; take more steps"),
    ({"steps": 1, "editor": "fine_tuning"}, "no weight changes; take more steps"),
    ({"learning_rate": -0.5}, "learning_rate is -0.5: give a number, above 0, 10 at most"),
    ({"learning_rate": 0}, "learning_rate is 0: give a number, above 0"),
    ({"learning_rate": 1e30}, r"learning_rate is 1e\+30: give a number, above 0, 10 at most"),
    ({"learning_rate": float("nan")}, "learning_rate is nan: give a number"),
    ({"learning_rate": "fast"}, "learning_rate is 'fast': give a number"),
    ({"norm": 0.0, "editor": "fine_tuning"}, r"norm is 0\.0: give a number, above 0"),
    ({"weight_decay": -1.0}, r"weight_decay is -1\.0: give a number, 0 or more"),
    ({"clamp": 0.0}, "clamp is 0.0: give a number, above 0"),
    (
        {"weight_decay": 1e308, "clamp": 1e300},
        "rome: 'The old man admires' → 'those': the optimisation diverged; lower",
    ),
    ({"token": "first"}, "unknown token 'first': choose one of subject_last, last"),
    ({"subject": "vases", "prompt": "The old man admires ___."}, "'vases' is not before the gap of the prompt"),
    ({"prompt": "The ___ old man admires"}, "the prompt 'The ___ old man admires': gap is not at the end; write its"),
    ({"contexts": "A king."}, "contexts is a list of texts, or of pairs"),
    ({"contexts": [(5, 0)]}, "contexts is a list of texts, or of pairs"),
    ({"contexts": [(5, 1), "A king."]}, "contexts is a list of texts, or of pairs"),
    ({"contexts": ["A."], "editor": "fine_tuning"}, "fine_tuning uses no contexts: leave it out"),
    ({"paraphrases": ["This man admires"]}, "rome uses no paraphrases: leave them out"),
    ({"covariance": Covariance({}, 9), "editor": "fine_tuning"}, "fine_tuning uses no covariance: leave it out"),
    ({"covariance": Covariance({0: torch.eye(24)}, 9)}, "the covariance of layer 1 was not collected"),
    ({"covariance": Covariance({1: torch.eye(7)}, 9)}, "the covariance is of 7 neurons, the model has 24"),
    ({"covariance": Covariance({1: torch.ones(24, 24)}, 9)}, "the covariance is singular; collect it from more tokens"),
    ({"covariance": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
]


def refused(model: Model, changes: dict[str, Any], said: str) -> None:
    state = state_of(model)
    with pytest.raises(UserError, match=said) as error, kn_thesis.edit(model, **(asked(model) | changes)):
        raise AssertionError("the block was entered")
    assert "\n" not in str(error.value) and changed(model, state) == []


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_bad_input_is_one_line(model: Model, changes: dict[str, Any], said: str) -> None:
    refused(model, {"editor": "knowledge_neuron" if model.adapter.objective == "masked" else "rome"} | changes, said)


@pytest.mark.parametrize(("changes", "said"), BAD_CAUSAL)
def test_bad_input_of_a_causal_model_is_one_line(causal: Model, changes: dict[str, Any], said: str) -> None:
    refused(causal, changes, said)


@pytest.mark.parametrize("editor", ["rome", "fine_tuning"])
def test_a_masked_model_has_one_editor(models: Callable[..., Model], editor: str) -> None:
    refused(
        models("bert"), {"editor": editor}, f"{editor} edits causal models: bert is masked; choose knowledge_neuron"
    )


def test_a_masked_prompt_needs_a_gap(models: Callable[..., Model]) -> None:
    said = "the prompt 'The old man admires vases.': no gap; write its gap once, as ___"
    refused(models("bert"), {"editor": "knowledge_neuron", "prompt": "The old man admires vases."}, said)


def test_facts_without_a_shared_neuron_are_one_line(model: Model) -> None:
    more = {"editor": "knowledge_neuron", "coarse": 0.99, "share": 1.0}
    ends = " ___ vases." if model.adapter.objective == "masked" else ""
    paraphrases = [f"{start}{ends}" for start in ("This king", "The capital of Rome", "Those women admire", "France")]
    refused(model, more | {"paraphrases": paraphrases}, "no knowledge neuron was found; lower coarse or share")


@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_weights_that_are_no_numbers_are_one_line(models: Callable[..., Model], family: str, editor: str) -> None:
    model = models(family)
    weight = model.adapter.value_weight(2)
    kept = weight[0, 0].clone()
    weight[0, 0] = float("nan")
    try:
        changes = {"editor": editor, "old": OLD}
        said = "the optimisation diverged; .* weights are finite" if editor != "knowledge_neuron" else "not finite"
        with pytest.raises(UserError, match=said) as error:
            kn_thesis.edit(model, **(asked(model) | changes)).__enter__()
        assert "\n" not in str(error.value)
    finally:
        weight[0, 0] = kept


def test_factors_that_the_weights_cannot_hold_are_one_line(models: Callable[..., Model]) -> None:
    for family in FAMILIES:
        changes = {"editor": "knowledge_neuron", "new_factor": 1e39, "old": OLD}
        refused(
            models(family, "float32"), changes, "the changed weights are not finite; lower learning_rate or the fac"
        )


def test_a_place_that_the_gap_does_not_see_is_one_line(causal: Model) -> None:
    refused(causal, {"layer": 2, "token": "subject_last"}, "no weight changes; take more steps, .* or another layer")


def test_contexts_are_texts_or_lengths(causal: Model) -> None:
    found = {}
    choices = {
        "none": None,
        "empty": [],
        "one": ["This king."],
        "other": ["Those vases."],
        "written": [(3, 2), (4, 1)],
    }
    for name, contexts in choices.items():
        with edit_by(causal, contexts=contexts):
            found[name] = state_of(causal)
    with edit_by(causal, contexts=[(3, 2), (4, 1)]):
        assert changed(causal, found["written"]) == []
    with edit_by(causal, contexts=[(3, 2), (4, 1)], seed=2):
        assert changed(causal, found["written"])
    with edit_by(causal):
        assert changed(causal, found["none"]) == changed(causal, found["empty"]) == []
        assert changed(causal, found["one"]) and changed(causal, found["other"])
    with edit_by(causal, contexts=["This king."]):
        assert changed(causal, found["other"])


def test_a_covariance_turns_the_change(causal: Model, tmp_path: Path) -> None:
    torch.manual_seed(1)
    keys = torch.randn(200, 24)
    covariance = Covariance({1: keys.T @ keys / 200}, 200)
    covariance.save(tmp_path / "covariance")
    before = causal.adapter.value_weight(1).clone()
    with edit_by(causal):
        plain = causal.adapter.value_weight(1) - before
    with edit_by(causal, covariance=covariance):
        spared = causal.adapter.value_weight(1) - before
    with edit_by(causal, covariance=tmp_path / "covariance"):
        torch.testing.assert_close(causal.adapter.value_weight(1) - before, spared, rtol=0, atol=0)
    key = torch.linalg.svd(plain)[2][0]
    expected = torch.linalg.solve(covariance.matrices[1].double(), key)
    direction = torch.linalg.svd(spared)[2][0]
    assert abs(float(direction @ expected / expected.norm())) == pytest.approx(1, abs=1e-9)
    assert abs(float(direction @ key)) < 0.999


def test_questions_that_cannot_be_asked_are_one_line(model: Model) -> None:
    causal = model.adapter.objective == "causal"
    with edit_by(model, "knowledge_neuron") as edited:
        for ask, said in (
            (lambda: edited.probabilities(prompt_of(model), OLD), "words is a list with at least one entry"),
            (lambda: edited.probabilities(prompt_of(model), []), "words is a list with at least one entry"),
            (lambda: edited.probabilities(prompt_of(model), ["☃"]), "'☃' cannot fill the gap"),
            (lambda: edited.probabilities("A ___ or ___", [OLD]), "more than one gap"),
            (lambda: edited.complete("This", 0), "tokens is 0: give" if causal else "bert is masked and does not"),
            (lambda: edited.complete("this " * 30), "the model takes 1 to 24" if causal else "ask for probabilities"),
        ):
            with pytest.raises(UserError, match=said) as error:
                ask()
            assert "\n" not in str(error.value)
    for ask in (lambda: edited.complete("This"), lambda: edited.probabilities(prompt_of(model), [OLD])):
        with pytest.raises(UserError, match=f"^the edit '{prompt_of(model)}' → 'those' is over: ask inside its with"):
            ask()


def test_no_text_is_no_text_to_continue(gpt2: Model) -> None:
    with edit_by(gpt2) as edited, pytest.raises(UserError, match="the text '' has 0 tokens: the model takes 1 to 24"):
        edited.complete("")


def test_what_fills_the_positions_is_continued_by_nothing(gpt2: Model) -> None:
    with edit_by(gpt2) as edited:
        text = " ".join(["this"] * 24)
        assert len(gpt2.tokenizer.tokenizer.encode(text).ids) >= 24
        assert edited.complete(gpt2.tokenizer.tokenizer.decode(gpt2.tokenizer.tokenizer.encode(text).ids[:24])) == ""


def test_a_prompt_too_long_is_one_line_where_the_tokenizer_knows_no_limit(model: Model) -> None:
    object.__setattr__(model.tokenizer, "max_length", None)
    try:
        editor = "knowledge_neuron" if model.adapter.objective == "masked" else "rome"
        changes = {"prompt": f"The old man {'and this ' * 20}admires ___", "editor": editor}
        refused(model, changes, r"the prompt 'The old .*' is longer than the model's 24 positions: shorten it")
    finally:
        object.__setattr__(model.tokenizer, "max_length", 24)


def test_it_is_public_and_imported_at_first_use() -> None:
    code = (
        "import sys, kn_thesis; assert {'edit', 'Edited'} <= set(dir(kn_thesis)) & set(kn_thesis.__all__); "
        "assert not {'torch', 'pandas', 'kn_thesis.editing.library'} & set(sys.modules); "
        "kn_thesis.edit; assert 'kn_thesis.editing.library' in sys.modules; "
        "from kn_thesis import Edited, edit; assert edit is kn_thesis.edit and Edited.__name__ == 'Edited'"
    )
    scripts = Path(__file__).parents[1] / "scripts"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=scripts)
    stubs = (scripts / "kn_thesis" / "__init__.pyi").read_text()
    for name in kn_thesis.__all__:
        assert f" import {name} as {name}\n" in stubs
