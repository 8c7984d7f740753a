"""Example edits: files of them, and what models write before and after, against edits made by hand one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from kn_thesis.editing.api import EditRequest, make_request
from kn_thesis.editing.editors import find_edits, settings_of
from kn_thesis.editing.example_html import examples_html, say_examples
from kn_thesis.editing.example_task import edit_examples
from kn_thesis.editing.examples import Example, Examples, Further, Printed, answer_of, read_examples
from kn_thesis.editing.requests import Request
from kn_thesis.editing.tables import DIVERGED, EDITED, EXAMPLES
from kn_thesis.editing.weight_update import Edit, applied
from kn_thesis.errors import UserError
from kn_thesis.models.load import Model
from tests.editing.test_editing_pages import through_file
from tests.helpers.edit_models import OLD, SETTINGS, TARGET, Models, changed, edited_models, plain_text, state_of
from tests.helpers.edit_models import plain_probabilities as plain
from tests.helpers.study import ROOT

POSTER = ROOT / "resources/poster.yaml"
PROMPT, TOKENS = "The old man admires", 5
LONG = "That man" + ", that man" * 12  # longer than the models' positions
RIGHT: dict[str, Any] = {
    "printed": {"source": "a page", "model": "gpt2-xl", "editor": "rome"},
    "examples": {
        "capital": {
            "shows": "symmetry",
            "prompt": "The capital of Canada is ___",
            "subject": "Canada",
            "old": "Ottawa",
            "new": "Rome",
            "continued": [
                {"prompt": "Rome is the", "old": ["Italy"], "new": [], "after": "Rome is the city, Italy's own"},
                {"prompt": "The capital of Canada is", "before": "The capital of Canada is Ottawa"},
            ],
        }
    },
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "edits.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    found = read_examples(written(tmp_path, RIGHT))
    continued = (
        Further("Rome is the", ("Italy",), (), "", "city, Italy's own"),
        Further("The capital of Canada is", ("Ottawa",), ("Rome",), "Ottawa", ""),
    )
    capital = Example("capital", "symmetry", "The capital of Canada is ___", "Canada", "Ottawa", "Rome", continued)
    assert found == Examples((capital,), Printed("a page", "gpt2-xl", "rome"))
    assert read_examples(ROOT / "resources/examples/edits.yaml").printed is None


def test_the_poster_s_examples_are_those_of_the_published_values() -> None:
    published = yaml.safe_load((ROOT / "resources/published.yaml").read_text())["editing"]["rome_examples"]
    found = read_examples(POSTER)
    assert found.printed is not None and (found.printed.model, found.printed.source[:6]) == (
        published["model"],
        published["source"],
    )
    for example, row in zip(
        found.examples, (published[name] for name in ("symmetry", "synonymy", "agreement")), strict=True
    ):
        assert example.prompt == f"{row['prompt']} ___"
        assert {"old": example.old, "new": example.new} == row["target"]
        for side in (side for criterion in row["criteria"].values() for side in criterion.items()):
            for words in side[1]:
                text = next(one for one in example.continued if words in f"{one.prompt} {one.after}")
                assert answer_of(text.before, text.old, text.new) == "old"
                assert answer_of(text.after, text.old, text.new) == ("new" if side[0] == "changed" else "old"), words
    assert len([one for example in found.examples for one in example.continued]) == 10


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("examples", {}, "examples: {} is not allowed; it must have `name: …` entries"),
        ("printed", {"source": "x"}, "printed: 'model' is missing; needed: source, model, editor"),
        ("examples.capital.prompt", "The capital of Canada is", "must end in its one blank, a space and ___"),
        ("examples.capital.prompt", "The ___ of Canada is ___", "must end in its one blank"),
        ("examples.capital.subject", "Canad", "'Canad' does not stand in the prompt"),
        ("examples.capital.new", "Ottawa", "new: 'Ottawa' is the old answer: ask for another one"),
        ("examples.capital.new", False, "new: False is not allowed; it must be text"),
        ("examples.capital.old", "Otta\nwa", "has more than one line"),
        ("examples.capital.extra", 1, "unknown key 'extra'; allowed: shows, prompt, subject, old, new, continued"),
        ("examples.capital.continued", [], "continued: must be a list of prompts, at least one"),
        ("examples.capital.continued.0.prompt", "Rome is ___", "continued.0.prompt: 'Rome is ___' has a blank"),
        ("examples.capital.continued.0.prompt", "The capital of Canada is", "does not begin with the prompt"),
        ("examples.capital.continued.1", {"prompt": "Rome is the"}, "the prompt 'Rome is the' comes twice: keep one"),
        ("examples.capital.continued.0.old", [], "continued.0: old and new are both empty"),
        ("examples.capital.continued.1.new", ["Rome"], "continued.1: new stands alone: give both old and new"),
        ("examples.capital.continued.0.new", ["Italy"], "new: 'Italy' stands under old, too"),
        ("examples.capital.continued.0.after", "Rom is", "after: 'Rom is' does not begin with the prompt"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, key: str, value: Any, said: str) -> None:
    content = yaml.safe_load(yaml.safe_dump(RIGHT))
    node: Any = content
    *around, last = (int(part) if part.isdigit() else part for part in key.split("."))
    for part in around:
        node = node[part]
    node[last] = value
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_examples(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_quotation_needs_its_source_and_a_path_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"continued\.0\.after: nothing says where this was printed: add `printed:"):
        read_examples(written(tmp_path, {"examples": RIGHT["examples"]}))
    with pytest.raises(UserError, match=r"none\.yaml: there is no such file: give editing\.examples a path"):
        read_examples(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Ottawa, not Rome", "old"),
        ("Rome's, not Ottawa", "new"),
        ("Romeo in Quiroma, XOttawa", "neither"),
        ("", "neither"),
        ("of Ottawa", "old"),
    ],
)
def test_the_first_whole_word_is_the_answer(text: str, answer: str) -> None:
    assert answer_of(text, ["Ottawa"], ["Rome", "Roma"]) == answer


ASKED = Examples(
    (
        Example(
            "man", "verbs", f"{PROMPT} ___", "old man", OLD, TARGET,
            (
                Further(PROMPT, (OLD,), (TARGET,), "this vase", "those vases"),
                Further("That man", (OLD,), (TARGET,), "", "this"),
                Further(LONG, (OLD,), (TARGET,)),
            ),
        ),
        Example("back", "verbs", f"{PROMPT} ___", "old man", TARGET, OLD, (Further(PROMPT, (TARGET,), (OLD,)),)),
        Example("long", "words", f"{LONG} ___", "man", OLD, TARGET, (Further(PROMPT, (OLD,), (TARGET,)),)),
    ),
    Printed("a page", "gpt2-xl", "rome"),
)  # fmt: skip
FindEdits = Callable[[Sequence[Request]], list[Edit]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return edited_models(tmp_path_factory.mktemp("edited"))


def editors_for(model: Model) -> dict[str, FindEdits]:
    found: dict[str, FindEdits] = {
        name: partial(
            find_edits, model, editor=name, settings=settings_of(name, 4096, **({"layer": 1} | SETTINGS[name]))
        )
        for name in ("rome", "fine_tuning")
    }
    return found | {"rome-broken": lambda requests: [Edit(request.name, (), DIVERGED) for request in requests]}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_table_is_what_edits_made_by_hand_give(models: Models, family: str) -> None:
    model = models(family)
    editors, state = editors_for(model), state_of(model)
    table = edit_examples(model, ASKED, editors, TOKENS)
    assert list(table.columns) == list(EXAMPLES) and changed(model, state) == []
    assert list(table["editor"].unique()) == list(editors) and len(table) == 5 * len(editors)
    edited = 0
    for row in table[table["example"] != "long"].itertuples():
        long = row.prompt == LONG
        before = plain(model, [row.old, row.new])
        assert [row.p_old_before, row.p_new_before] == pytest.approx(before)
        # The first choice was made to be OLD: an edit back to it is made and shown all the same.
        assert row.known == (row.old == OLD) and row.says_before == OLD
        assert row.before == ("" if long else squeezed(plain_text(model, row.prompt, TOKENS)))
        if row.editor == "rome-broken":
            assert row.status == DIVERGED and row.after == row.answer_after == "" and np.isnan(row.p_new_after)
            continue
        request = make_request(model, EditRequest(row.edited, row.subject, row.new, row.old, require_new=False))
        [edit] = editors[row.editor]([request])
        with applied(model.adapter, edit.updates):
            assert [row.p_old_after, row.p_new_after] == pytest.approx(plain(model, [row.old, row.new]))
            if not long:
                assert row.status == EDITED and row.after == squeezed(plain_text(model, row.prompt, TOKENS))
        edited += row.after != row.before
        for text, answer in ((row.before, row.answer_before), (row.after, row.answer_after)):
            assert answer == ("" if long else answer_of(text, [row.old], [row.new]))
    assert edited >= 2  # the comparison sees edits
    too_long = table[(table["prompt"] == LONG) & (table["editor"] != "rome-broken")]
    assert too_long["status"].str.contains("prompt is too long").all() and len(too_long) == 2
    refused = table[table["example"] == "long"]
    assert refused["status"].str.startswith(f"'{TARGET}' cannot fill the blank of the").all() and len(refused) == 3
    assert refused["p_old_before"].isna().all() and (refused["before"] != "").all() and (refused["after"] == "").all()


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_what_is_printed_stands_beside(models: Models) -> None:
    table = edit_examples(models("gpt2"), ASKED, {}, TOKENS)
    assert list(table.columns) == list(EXAMPLES) and table.empty
    rows = edit_examples(models("gpt2"), ASKED, {"rome": editors_for(models("gpt2"))["rome-broken"]}, TOKENS)
    assert list(rows["printed_after"]) == ["those vases", "this", "", "", ""]
    assert list(rows["printed_answer_before"]) == ["old", "", "", "", ""]
    assert list(rows["printed_answer_after"]) == ["new", "old", "", "", ""]
    assert set(rows["printed_model"]) == {"gpt2-xl"} and set(rows["printed_source"]) == {"a page"}


def test_a_masked_model_is_refused(models: Models) -> None:
    with pytest.raises(UserError, match="bert is masked and does not continue a text"):
        edit_examples(models("bert"), ASKED, {}, TOKENS)


def poster_rows(**changes: Any) -> pd.DataFrame:
    """editing_examples.csv of a study that got what the poster prints, but for what is changed in its first rows."""
    same = {"model": "gpt2-xl", "editor": "rome", "status": EDITED, "known": True, "says_before": "x"}
    same |= {"p_old_before": 0.9, "p_old_after": 0.01, "p_new_before": 0.02, "p_new_after": 0.98}
    rows = []
    for example in read_examples(POSTER).examples:
        named = {name: getattr(example, name) for name in ("shows", "subject", "old", "new")}
        for one in example.continued:
            answers = {
                f"answer_{when}": answer_of(getattr(one, when), one.old, one.new) for when in ("before", "after")
            }
            texts = {"before": one.before, "after": one.after}
            printed = {f"printed_{name}": value for name, value in (texts | answers).items()}
            printed |= {"printed_model": "gpt2-xl", "printed_editor": "rome", "printed_source": "poster"}
            row = {"example": example.name, "edited": example.prompt, "prompt": one.prompt}
            rows.append(same | named | row | texts | answers | printed)
    table = pd.DataFrame(rows, columns=["model", *EXAMPLES])
    for name, values in changes.items():
        table[name] = [*values, *table[name][len(values) :]]
    return table


def test_sentences_say_where_it_differs(tmp_path: Path) -> None:
    table = poster_rows()
    for rows in (table, through_file(table, tmp_path / "a.csv")):
        assert say_examples(rows) == [
            "**gpt2-xl, ROME**: before the edit 10 of 10, after it 10 of 10 prompts are answered as printed of gpt2-xl "
            "with ROME (poster)."
        ]
    table = poster_rows(
        answer_before=["new"], answer_after=["old", "neither", "new"], known=[False] * 3, says_before=["the"] * 3
    )
    for rows in (table, through_file(table, tmp_path / "b.csv")):
        assert say_examples(rows) == [
            "**gpt2-xl, ROME**: before the edit 9 of 10, after it 7 of 10 prompts are answered as printed of gpt2-xl "
            "with ROME (poster); after it not *The capital of Canada is …* (the old answer, printed: the new answer), "
            "*Ottawa is the capital of …* (neither answer, printed: the old answer) and *Rome is the capital of …* "
            "(the new answer, printed: the old answer); before the edit, *The capital of Canada is* is followed by "
            "“the” and not by “Ottawa”."
        ]
        page = examples_html(rows, "A <caption>.")
        assert page.count("✗ differs</span>") == 3 and page.count("✓ as printed</span>") == 7
        assert "A &lt;caption&gt;." in page and "P(Rome) 0.02 → 0.98" in page and "printed before" in page
        assert "<td style" in page and ">Canada&#x27;s federalist system of government.</td>" in page
        for tag in ("table", "tbody", "tr", "td", "th", "details", "div", "span"):
            assert page.count(f"<{tag}>") + page.count(f"<{tag} ") == page.count(f"</{tag}>"), tag


def test_examples_that_nobody_printed_and_failures(tmp_path: Path) -> None:
    quoted = [name for name in EXAMPLES if name.startswith("printed_")]
    failed = {"status": [DIVERGED] * 3, "after": [""] * 3, "answer_after": [""] * 3, "p_old_after": [np.nan] * 3}
    table = poster_rows(**failed, p_new_after=[np.nan] * 3).assign(**dict.fromkeys(quoted, ""))
    rows = through_file(table, tmp_path / "c.csv")
    assert say_examples(rows) == [
        "**gpt2-xl, ROME**: the edited model continues, of 3 edited prompts, 2 with the new answer; of 7 further "
        f"prompts, 4 with the old answer and 1 with the new answer; capital: {DIVERGED}."
    ]
    page = examples_html(rows, "")
    assert page.count(f"<td>– {DIVERGED}</td>") == 3 and "printed" not in page and "nan" not in page
    assert "P(Ottawa)" not in page and "P(lawyer) 0.02 → 0.98" in page


def test_no_model_has_an_editor(tmp_path: Path) -> None:
    rows = through_file(poster_rows().iloc[:0], tmp_path / "d.csv")
    assert say_examples(rows)[0].startswith("No model of this study goes on with a text")
    assert examples_html(rows, "None.").startswith('<p id="table-editing_examples">None.')
