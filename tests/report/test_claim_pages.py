"""Verdicts as text and figures: numbers, the first page's table and sections, a chapter's list."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kn_thesis.files import read_words
from kn_thesis.report.claims.figures import plot_claim, plot_claims
from kn_thesis.report.claims.labels import (
    bound,
    chip,
    effect,
    models_phrase,
    number,
    published,
    verdict_of,
    verdict_reason,
)
from kn_thesis.report.claims.verdicts import claim_section, say_parts, verdict_table, verdicts_html
from kn_thesis.report.overview import _against, overview
from kn_thesis.report.pages import Chapter
from tests.helpers.claim_tables import MODELS, NOT_SUPPORTED, UNDECIDED, tables
from tests.report.test_claims import NUMBERS, judged

ANSWERS = {9: NOT_SUPPORTED, 12: UNDECIDED}
Judged = tuple[pd.DataFrame, pd.DataFrame]


def reread(table: pd.DataFrame) -> pd.DataFrame:
    """The table as the pages read it: written to CSV and read back."""
    return read_words(io.StringIO(table.to_csv(index=False, float_format="%.6g")))


@pytest.fixture(scope="module")
def results() -> Judged:
    answers = tables(ANSWERS)
    table = answers["editing"]
    beside = table[table["editor"] == "rome"].assign(editor="rome-gap")
    beside["share"] -= 0.02
    answers["editing"] = pd.concat([table[table["model"] != "bert"], beside[beside["model"] != "bert"]])
    claims, parts = judged(answers)
    return reread(claims), reread(parts)


def one(claims: pd.DataFrame, claim: int, model: str) -> pd.Series:
    return claims[(claims["claim"] == claim) & (claims["model"] == model) & claims["headline"]].iloc[0]


def test_numbers_read_well() -> None:
    written = {0.0047: "0.47 %", 0.123: "12 %", 0.0: "0 %", -0.0312: "-3.1 %", 1.0: "100 %"}
    assert {value: number(value, "percent") for value in written} == written
    written = {-0.1: "-0.10", 8.187: "8.19", 0.0137: "0.014", 0.0: "0", -1.0: "-1.00"}
    assert {value: number(value, "number") for value in written} == written
    assert number(np.nan, "number") == number(np.nan, "percent") == ""


def test_the_reason_for_a_verdict_is_one_line(results: Judged) -> None:
    claims, parts = results
    row = one(claims, 9, "gpt2")
    assert models_phrase(row) == "gpt2, ROME" and verdict_of(row) == NOT_SUPPORTED and bound(row) == "below 50 %"
    assert re.fullmatch(
        r"edits after which the new object's side returns the subject: 95 % \[88 %, 98 %\], claimed below 50 % "
        r"\(80 edits, p\(Holm\) < 0.0001\)",
        verdict_reason(row, parts),
    )
    assert published(row) == "one example that fails" and published(one(claims, 6, "all")) == "3.1 %"
    nothing = one(claims, 9, "bert")
    assert verdict_of(nothing) == "not asked" and effect(nothing) == ""
    assert verdict_reason(nothing, parts).startswith("reliability: nothing is edited with rome in this model")
    assert bound(one(claims, 5, "all")) in ("below 0", "above 0", "within ±0.10")
    assert chip("not supported") == '<span class="verdict not-supported">not supported</span>'


def test_the_table_has_every_claim_and_model(results: Judged) -> None:
    claims, _ = results
    html = verdict_table(claims, list(MODELS))
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    assert len(rows) == 1 + len(NUMBERS) and rows[0].count("<th ") == 3 + 1 + len(MODELS)
    for claim, row in zip(NUMBERS, rows[1:], strict=True):
        chips = re.findall(r'class="verdict ([a-z-]+)"', row)
        expected = [verdict_of(one(claims, claim, model)).replace(" ", "-") for model in ("all", *MODELS)]
        assert chips == expected and f'href="#claim-{claim}"' in row
    assert "poster, KN Edit Effect (bert-base-cased)" in rows[6]


def test_a_section_has_all_verdicts_and_a_picture_with_words(results: Judged, tmp_path: Path) -> None:
    claims, parts = results
    picture = tmp_path / "claim_9.svg"
    picture.write_text("<svg/>")
    html = claim_section(claims, parts, 9, str(picture), {"editing": "Editing"})
    assert html.count('class="verdict ') == 1 + 4 + 2  # title; over models and three of them; the variant in two
    alt = re.search(r'alt="([^"]*)"', html)[1]
    assert "gpt2, ROME: 95 %" in alt and "not supported" in alt and 'href="editing.html"' in html
    assert "Other variants" in html and "ROME (gap)" in html
    assert "Other variants" not in claim_section(claims, parts, 1, str(picture), {"localization": "Localization"})


def test_a_chapter_s_claims(results: Judged) -> None:
    claims, parts = results
    html = verdicts_html(claims, parts, "editing")
    assert [int(claim) for claim in re.findall(r"Claim (\d+)</a>", html)] == [8, 9, 10, 11]
    lines = say_parts(parts, [9])
    assert len(lines) == 2 and lines[0].startswith("**gpt2**, claim 9. ROME: holds for reliability 95 % [88 %, 98 %]")
    assert "; fails for symmetry, new side 95 %" in lines[0] and ". ROME (gap): " in lines[0]


def test_pictures_show_every_model(results: Judged) -> None:
    claims, parts = results
    for claim in NUMBERS:
        rows = parts[parts["claim"] == claim]
        figure = plot_claim(rows, list(MODELS))
        assert len(figure.axes) == rows["part"].nunique()
        labels = [label.get_text().split("\n")[0] for label in figure.axes[0].get_yticklabels()]
        assert labels[:4] == ["over models", *MODELS]
        assert (labels[4:] == ["published"]) == bool(published(rows.iloc[0]))
    nothing = [text.get_text() for text in plot_claim(parts[parts["claim"] == 9], list(MODELS)).axes[0].texts]
    assert nothing.count("no estimate") == 1  # bert is not edited with ROME
    words = [text.get_text().replace("\n", " ") for text in plot_claims(claims, list(MODELS)).axes[0].texts]
    assert len(words) == 4 * len(NUMBERS) and words.count("not asked") == 4 and words.count("not supported") == 2


def test_the_first_page(results: Judged, tmp_path: Path) -> None:
    claims, parts = results
    picture = tmp_path / "claim.svg"
    picture.write_text("<svg/>")
    kinds = {"kind": ["paradigm", "relation", "paradigm"], "task": ["a", "P36", "b"]}
    asked = {"model": ["bert", "mine", "bert"], "family": ["bert", "gpt2", "bert"]}
    corpora = pd.DataFrame({**asked, **kinds, "reason": ["kept", "kept", "too long"], "count": [10, 1000, 7]})
    counts = {"n": [50, 50], "correct": [50, 40], "accuracy": [1.0, 0.8], "task": ["a", "P36"]}
    models = pd.DataFrame({"model": ["bert", "mine"], "family": ["bert", "gpt2"], **counts})
    models = models.assign(split="held_out", demanded=[0.9, 0.95], learned=["yes", "no"])
    trained = {"train": {"layers": 4, "intermediate": 512}}
    study = {"study": "a <study>", "seed": 3, "corpora": {"source": "fetched"}}
    study["models"] = {"bert": trained, "mine": {"path": "/x"}}
    body = overview(
        [Chapter(name, name.title(), "…") for name in ("localization", "suppression", "tracing", "editing")],
        {"corpora": corpora, "models": models, "claims": claims, "claim_parts": parts},
        dict.fromkeys(NUMBERS, str(picture)),
        study,
        ["bert"],
    )
    assert "Of the paper's 12 claims, over these models: 6 supported (" in body
    # Two or three models decide little.
    assert '6 undecided (<a href="#claim-2">2</a>, <a href="#claim-8">8</a>, ' in body
    assert "Single models contradict" not in body and "No single model contradicts any." in body
    assert "a &lt;study&gt;</strong>, seed 3, on BLiMP and ParaRel" in body
    assert "Not learned.</strong> mine: P36 (held out, 80% of the 95% demanded). Results on these tasks" in body
    assert "1,010 prompts and pairs from 1 paradigm and 1 relation; 7 were left out" in body
    assert "100.0% of 50 answers are right; lowest on a of bert, 100%" in body
    assert "bert, trained here: 4 layers of 512 MLP neurons" in body and "<code>mine</code>" in body
    assert all(body.count(f'id="claim-{claim}"') == 1 for claim in NUMBERS)
    assert "is kept for" not in body


def test_the_first_page_of_models_that_are_asked_nothing(results: Judged, tmp_path: Path) -> None:
    """For one of two models, and for both with a column: the page names the task and the models with their families."""
    picture = tmp_path / "claim.svg"
    picture.write_text("<svg/>")
    corpora = pd.DataFrame({"model": ["bert", "<b>", "mine"], "family": ["bert", "bert", "gpt2"]})
    corpora = corpora.assign(kind="paradigm", task="a", reason="kept", count=[0, 0, 9])
    models = pd.DataFrame({"model": ["mine"], "n": 9, "correct": 3, "accuracy": 1 / 3, "task": "a"})
    models = models.assign(split="held_out", demanded=float("nan"), learned=float("nan"))
    tables = dict(zip(("claims", "claim_parts"), results, strict=True)) | {"corpora": corpora, "models": models}
    study = {"study": "x", "seed": 3, "corpora": {"source": "fetched"}}
    study["models"] = {name: {"path": "/x"} for name in ("bert", "<b>", "mine")}
    figures = dict.fromkeys(NUMBERS, str(picture))
    chapters = [Chapter(name, name.title(), "…") for name in ("localization", "suppression", "tracing", "editing")]
    body = overview(chapters, tables, figures, study, ["bert", "<b>", "mine"])
    assert "No item of a is kept for bert, &lt;b&gt;." in body and "33.3% of 9 answers are right" in body
    assert body.count("bert, from a folder") == 2 and "gpt2, from a folder" in body
    assert "What the models know: nothing was asked of them" in overview(chapters, tables, figures, study, ["bert"])


def test_what_single_models_contradict_stands_at_the_top(results: Judged) -> None:
    assert _against(results[0], list(MODELS)) == ' Single models contradict <a href="#claim-9">9</a> (gpt2, llama).'
