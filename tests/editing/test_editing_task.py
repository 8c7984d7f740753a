"""A task's tables against models that are really edited, and against continuations written one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from kn_thesis.editing.generation import Sampler, continue_rows, end_token, entropy, readable_text
from kn_thesis.editing.requests import Question, Request
from kn_thesis.editing.tables import COMPLETIONS, DIVERGED, EDITED, EDITS, QUESTIONS, UNKNOWN
from kn_thesis.editing.task import Continued, edit_task
from kn_thesis.editing.weight_update import Edit, Update
from kn_thesis.models.load import Model
from tests.helpers.edit_questions import asked, requests_of
from tests.helpers.editing_prompts import CAPITAL, LANDS, facts_table, pairs_table, sentences
from tests.helpers.tiny_models import loaded_model
from tests.reference.editing import down_projection_weight, evaluate

CONTINUED = Continued(tokens=6, samples=4, top=2, seed=7)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    families = ("gpt2", "llama", "bert")
    return {name: loaded_model(name, tmp_path_factory.mktemp(name), sentences(), 40) for name in families}


class Study(NamedTuple):
    """A task of three requests: edited at two layers, not edited, edited by a whole matrix; and one never asked for."""

    requests: list[Request]
    questions: dict[str, list[Question]]
    statuses: pd.DataFrame
    edits: list[Edit]


def study_of(model: Model, kind: str) -> Study:
    tokenizer = model.tokenizer
    prompts = facts_table(tokenizer, CAPITAL, LANDS) if kind == "relation" else pairs_table(tokenizer)
    requests = list(requests_of(tokenizer, prompts).values())[:3]
    questions = {one.name: asked(one, tokenizer, prompts, others=2, each=2)[0] for one in requests}
    generator = torch.Generator().manual_seed(2)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    two = (Update(2, drawn(16, 1), drawn(24, 1)), Update(0, drawn(16, 1), drawn(24, 1)))
    edits = [
        Edit(requests[0].name, two),
        Edit(requests[1].name, (), DIVERGED, 5, float("nan")),
        Edit(requests[2].name, (Update(1, drawn(16, 24)),), "", 9, 0.25),
    ]
    rows = [(one.name, one.cluster, one.subject, one.old, one.new, one.text, EDITED) for one in requests]
    rows.insert(1, ("never", "c", "Mars", "x", "", "Mars ___", UNKNOWN))
    return Study(requests, questions, pd.DataFrame(rows, columns=list(EDITS)[:7], dtype="str"), edits)


@pytest.mark.parametrize("kind", ["relation", "paradigm"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_task_s_questions_are_those_of_edited_models(models: dict[str, Model], family: str, kind: str) -> None:
    model = models[family]
    study = study_of(model, kind)
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    seen: list[Any] = []

    def find(requests: Any) -> list[Edit]:
        seen.append(requests)
        return study.edits

    found = edit_task(model, find, study.requests, study.statuses, study.questions, CONTINUED, 90).questions
    assert seen == [study.requests] and list(found.columns) == list(QUESTIONS)
    assert all(torch.equal(before[name], weight) for name, weight in model.module.state_dict().items())
    rows = []
    for edit in study.edits:
        matrices = {update.layer: update.matrix() for update in edit.updates}
        expected = evaluate(model.module, family, model.adapter.objective, matrices, study.questions[edit.request])
        rows += [{"edit": edit.request, **row} for row in expected]
    assert len(found) == len(rows) > 8
    for row, expected in zip(found.to_dict("records"), rows, strict=True):
        for name, value in expected.items():
            if name.startswith("says"):
                assert row[name] == readable_text(model.tokenizer, [value])
            elif isinstance(value, float):
                assert row[name] == pytest.approx(value, rel=1e-8, nan_ok=True), name
            else:
                assert row[name] == value, name
        for when in ("before", "after"):
            if kind == "paradigm":
                met = expected[f"p_{when}"] > expected[f"rival_{when}"]
            else:
                met = expected[f"first_{when}"] != (expected["criterion"] == "symmetry_old")
            assert row[f"holds_{when}"] == met
    failed = found["edit"] == study.edits[1].request
    assert failed.any() and np.array_equal(failed, np.isclose(found["p_before"], found["p_after"], rtol=1e-9, atol=0))


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_task_s_edits(models: dict[str, Model], family: str) -> None:
    model = models[family]
    study = study_of(model, "relation")
    found = edit_task(model, lambda _: study.edits, study.requests, study.statuses, study.questions, CONTINUED).edits
    assert dict(found.dtypes) == {name: pd.Series(dtype=kind).dtype for name, kind in EDITS.items()}
    pd.testing.assert_frame_equal(found[list(EDITS)[:6]], study.statuses[list(EDITS)[:6]])
    assert list(found["status"]) == [EDITED, UNKNOWN, DIVERGED, EDITED]
    assert list(found["layers"]) == ["0 2", "", "", "1"] and list(found["steps"]) == [0, 0, 5, 9]
    assert found["loss"].tolist() == pytest.approx([np.nan, np.nan, np.nan, 0.25], nan_ok=True)

    def length(matrices: list[Tensor]) -> float:
        return float(torch.cat([matrix.flatten() for matrix in matrices]).norm()) if matrices else np.nan

    never = Edit("never")
    for row, edit in zip(found.itertuples(), [study.edits[0], never, *study.edits[1:]], strict=True):
        weights = [down_projection_weight(model.module, family, update.layer) for update in edit.updates]
        assert row.update_norm == pytest.approx(length([one.matrix() for one in edit.updates]), nan_ok=True)
        assert row.weight_norm == pytest.approx(length(weights), rel=1e-6, nan_ok=True)
        for when, updates in (("before", ()), ("after", edit.updates)):
            value = getattr(row, f"entropy_{when}")
            if family == "bert" or edit is never:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(plain_entropy(model, study, row.edit, updates), abs=1e-12)
    if family != "bert":
        assert found["entropy_before"][2] == found["entropy_after"][2]
        assert (found["entropy_before"] != found["entropy_after"])[[0, 3]].any()


def plain_entropy(model: Model, study: Study, name: str, updates: Sequence[Update]) -> float:
    """Each sample written by itself, from the prompt up to the subject."""
    [request] = [one for one in study.requests if one.name == name]
    begun = request.new_prompt.input_ids[: request.subject_token + 1]
    texts = []
    for sample in range(4):
        draw = Sampler([(name, sample)], 7, 2)
        texts += continue_rows(model, [begun], [updates], 6, choose=draw, stop=end_token(model))
    return entropy(texts)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_task_s_completions(models: dict[str, Model], family: str) -> None:
    model = models[family]
    study = study_of(model, "relation")
    found = edit_task(
        model, lambda _: study.edits, study.requests, study.statuses, study.questions, CONTINUED, 50
    ).completions
    expected = []
    for edit in study.edits:
        firsts: dict[str, Question] = {}
        for question in study.questions[edit.request]:
            firsts.setdefault(question.criterion, question)
        for question in firsts.values():
            texts = [
                continue_rows(model, [question.expected_prompt.input_ids], [updates], 6, stop=end_token(model))[0]
                for updates in ((), edit.updates)
            ]
            written = [readable_text(model.tokenizer, text) for text in texts]
            expected.append((edit.request, question.criterion, question.text, *written))
    assert list(found.itertuples(index=False, name=None)) == expected
    assert list(found.columns) == list(COMPLETIONS) and len(expected) >= 6
    assert (found["before"] != found["after"]).any()


def test_masked_models_have_no_completions(models: dict[str, Model]) -> None:
    study = study_of(models["bert"], "relation")
    found = edit_task(models["bert"], lambda _: study.edits, study.requests, study.statuses, study.questions, CONTINUED)
    assert len(found.completions) == 0 and list(found.completions.columns) == list(COMPLETIONS)
    assert len(found.questions)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_task_without_requests(models: dict[str, Model], family: str) -> None:
    study = study_of(models[family], "relation")
    statuses = study.statuses[study.statuses["edit"] == "never"]
    found = edit_task(models[family], lambda _: [], [], statuses, {}, CONTINUED)
    assert list(found.edits["status"]) == [UNKNOWN] and list(found.edits["layers"]) == [""]
    assert len(found.questions) == len(found.completions) == 0
    for table, kinds in ((found.edits, EDITS), (found.questions, QUESTIONS), (found.completions, COMPLETIONS)):
        assert dict(table.dtypes) == {name: pd.Series(dtype=kind).dtype for name, kind in kinds.items()}
