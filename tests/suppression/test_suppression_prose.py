"""Sentences about suppression, whichever way it went, and the tables that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kn_thesis.files import write_task_tables
from kn_thesis.suppression.prose import (
    direction_table,
    say_accuracy,
    say_cooccurrence,
    say_direction,
    say_directions,
    say_left_out,
    say_significance,
    say_variants,
)
from kn_thesis.suppression.regression import correct_slopes
from kn_thesis.suppression.summary import (
    TABLES,
    ModelTables,
    Settings,
    gather_tables,
    model_tables,
    shown_tests,
    significance_table,
)
from kn_thesis.suppression.tables import CONTRAST
from tests.helpers.suppression_tables import Hand, asked_prompts

SETTINGS = Settings(level=0.05, sample=20, sample_seed=1, resamples=50, confidence=0.95, seed=1, published_over="all")
TASKS = ("numbered", "unnumbered")
BIASED = ["all", "any", "entire", "single", "sole"]
WORDS = {"these": "plural", "this": "singular", **dict.fromkeys(BIASED, "biased"), "the": "neutral"}


def row_of(word: str, group: str, change: float, ours: bool, published: bool, **other: object) -> dict[str, object]:
    fixed: dict[str, object] = {"model": "bert", "task": "one", "kind": "number", "set": "plural", "operation": "erase"}
    fixed["before"] = 0.02
    values = {"p_published": 0.5, "p_paired_holm": 0.5, "significant": ours, "significant_published": published}
    mine = {"word": word, "word_group": group, "log_change": change, "relative_change": np.expm1(change)}
    return fixed | mine | values | other


def hand_tests() -> pd.DataFrame:
    rows = [
        row_of("these", "plural", -2.0, True, True),
        row_of("those", "plural", -1.0, False, True),
        row_of("those", "plural", -3.0, True, False, task="two"),
        row_of("this", "singular", 0.5, True, True),
        row_of("this", "singular", 0.5, False, False, operation="enhance"),
        row_of("that", "singular", np.nan, False, False, p_paired_holm=np.nan),
        row_of("two", "plural", -9.0, True, True, before=0.0009),  # does not fit the gap
        row_of("these", "plural", -9.0, True, True, set="shared"),
        row_of("these", "plural", -9.0, True, True, kind="target", set="these"),
        row_of("all", "biased", 0.25, False, True, relative_change=-0.1),
    ]
    return pd.DataFrame(rows)


def test_directions() -> None:
    found = direction_table(hand_tests()).set_index("word_group")
    assert list(found.index) == ["plural", "singular", "biased"] and set(found["set"]) == {"plural"}
    counts = found[["tasks", "words", "down_published", "up_published", "down", "up"]]
    np.testing.assert_array_equal(counts.loc["plural"], [2, 3, 2, 0, 2, 0])
    np.testing.assert_array_equal(counts.loc["singular"], [1, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(counts.loc["biased"], [1, 1, 1, 0, 0, 0])  # the two changes may differ in sign
    assert found.loc["plural", "log_change"] == -2
    assert say_direction(found.reset_index()) == (
        "No word could be tested under singular neurons. Plural neurons off: singular words +0.50 nats (0 of 1 down, "
        "1 up); plural words -2.00 nats (2 of 3 down, 0 up); biased words +0.25 nats (0 of 1 down, 0 up)."
    )
    assert say_directions(found.reset_index()) == [f"**bert**: {say_direction(found.reset_index())}"]
    enhanced = direction_table(hand_tests(), "enhance")
    assert list(enhanced["word_group"]) == ["singular"] and list(enhanced["up"]) == [0]


def test_no_direction() -> None:
    found = direction_table(hand_tests()[:0])
    assert found.empty and list(found.columns) == list(direction_table(hand_tests()).columns)
    said = "No word could be tested under singular neurons. No word could be tested under plural neurons."
    assert say_direction(found) == said


def test_significance() -> None:
    table = significance_table(hand_tests())
    first = table[(table["kind"] == "number") & (table["task"] == "one") & (table["operation"] == "erase")].iloc[0]
    assert (first["words"], first["both"], first["published_only"], first["paired_only"]) == (5, 3, 2, 0)
    assert (first["words_published_only"], first["words_paired_only"], first["neither"]) == ("those all", "", 0)
    assert (table["words"] == table[["both", "published_only", "paired_only", "neither"]].sum(axis=1)).all()
    assert say_significance(table) == (
        "Of 9 tests, 5 are significant both ways and 1 neither way; the published test alone calls 2 significant, "
        "ours alone 1."
    )
    nothing = significance_table(hand_tests()[:0])
    assert list(nothing.columns) == list(table.columns)
    assert say_significance(nothing) == "No word could be tested both ways."


def accuracy_by_hand() -> pd.DataFrame:
    columns = ["model", "task", "kind", "operation", "prompts", "correct_before", "overturned", "restored"]
    rows = [
        ("bert", "one", "number", "erase", 1000, 900, 300, 10, 0.9, 0.61),
        ("bert", "two", "number", "erase", 200, 100, 0, 6, 0.5, 0.53),
        ("bert", "none", "number", "erase", 0, 0, 0, 0, np.nan, np.nan),
        ("bert", "one", "number", "enhance", 1000, 900, 900, 0, 0.9, 0.0),
        ("bert", "one", "target", "erase", 1000, 900, 900, 0, 0.9, 0.0),
    ]
    table = pd.DataFrame(rows, columns=[*columns, "accuracy_before", "accuracy_after"])
    return table.assign(change=table["accuracy_after"] - table["accuracy_before"])


def test_what_is_left_out() -> None:
    columns = ["model", "task", "set", "note"]
    rows = [
        ("bert", "one", "plural", "no neuron is selected over 10 prompts"),
        ("bert", "one", "plural", "no neuron is selected over 10 prompts"),
        ("bert", "two", "plural", "no neuron is selected over 9 prompts"),
        ("bert", "two", "shared", "no neuron is selected over 19 prompts"),
        ("bert", "two", "singular", "left out: word has too many tokens"),
        ("bert", "one", "singular", "left out: word has too many tokens"),
        ("bert", "one", "singular", "fewer than 5 nouns: no test"),
        ("bert", "one", "singular", np.nan),
    ]
    table = pd.DataFrame(rows, columns=columns)
    assert say_left_out(table) == (
        "1 paradigms have no neuron that both numbers share; 2 sets of a number or a target have no neuron at all: "
        "bert, plural in one, two. Words that a tokenizer cannot put into the blank: bert: 2 rows left out: word has "
        "too many tokens."
    )
    assert say_left_out(table[:1]).endswith(
        "all: bert, plural in one. Words that a tokenizer cannot put into the blank: none."
    )
    assert say_left_out(table[6:]) == say_left_out(table[:0]) == "Every set has neurons, and every word can be asked."


def test_accuracy_in_words() -> None:
    table = accuracy_by_hand()
    assert say_accuracy(table) == (
        "Erasing the neurons of a prompt's own number overturns 300 of 1,000 right answers (1,200 prompts) and "
        "corrects 16 wrong ones. The largest fall is from 90.0% to 61.0% (bert, one)."
    )
    assert say_accuracy(table[1:3]).endswith("corrects 6 wrong ones. Accuracy falls nowhere.")
    assert say_accuracy(table[2:3]) == say_accuracy(table[:0]) == "No prompt has neurons of its own number."


def slopes_by_hand(**changes: object) -> pd.DataFrame:
    names = ("model", "operation", "set", "words", "slope", "p", "p_holm")
    rows = [
        ("bert", "erase", CONTRAST, "all", -0.5, 0.01, 0.02),
        ("bert", "erase", CONTRAST, "all", -0.3, 0.04, 0.08),
        ("bert", "erase", CONTRAST, "all", 0.4, 0.001, 0.002),
        ("bert", "erase", "plural", "all", 9.0, 0.001, 0.002),
        ("bert", "erase", "singular", "without number", 0.2, 0.01, 0.01),
        ("bert", "enhance", CONTRAST, "all", 9.0, 0.01, 0.02),
        ("gpt2", "erase", CONTRAST, "all", np.nan, np.nan, np.nan),
    ]
    return pd.DataFrame(rows, columns=names).assign(**changes)


def test_cooccurrence_in_words() -> None:
    assert say_cooccurrence(slopes_by_hand()) == [
        "**bert**: words of every kind: in 1 of 3 paradigms the effect (plural off less singular off) follows "
        "co-occurrence (Holm-corrected p < 0.05), median slope -0.300 nats per unit of log-ratio; words without "
        "number: in 1 of 1 paradigms the effect (singular neurons off) follows co-occurrence (Holm-corrected "
        "p < 0.05), median slope 0.200 nats per unit of log-ratio.",
        "**gpt2**: no effect to regress.",
    ]
    assert "in 0 of 3 paradigms" in say_cooccurrence(slopes_by_hand(p_holm=0.5))[0]
    assert say_cooccurrence(slopes_by_hand()[:0]) == []


def variants_by_hand(**changes: object) -> pd.DataFrame:
    row = {"family": "bert", "operation": "erase", "set": "plural", "slope": -0.2, "low": -0.3, "high": -0.1}
    row |= {"p": 0.001, "p_holm": 0.003, "moved": 10, "words_changed": 12, "p_wilcoxon": 0.01, "note": ""}
    return pd.DataFrame([row | changes])


def test_variants_in_words() -> None:
    assert say_variants(variants_by_hand()) == [
        "**bert**, plural neurons off: the effect follows co-occurrence from world to world, slope -0.200 "
        "[-0.300, -0.100], Holm-corrected p = 0.003; 10 of 12 words move with their co-occurrence when it is exchanged "
        "(Wilcoxon p = 0.01)."
    ]
    for changes in ({"p_holm": 0.06}, {"slope": 0.2}, {"set": "singular"}):
        assert "the effect does not follow co-occurrence" in say_variants(variants_by_hand(**changes))[0]
    assert "the effect follows co-occurrence" in say_variants(variants_by_hand(slope=0.2, set="singular"))[0]
    assert say_variants(variants_by_hand(operation="mean"))[0].startswith("Nothing to compare: one world only")
    assert say_variants(variants_by_hand(p=np.nan, note="fewer than 5"))[0].endswith("neurons off: fewer than 5.")


def written(folder: Path, tasks: Sequence[str] = TASKS) -> tuple[dict[str, list[Path]], list[Path]]:
    """Two tasks: one with plural neurons and no singular ones, one without both numbers. Files as the rule has them."""
    random = np.random.default_rng(0)
    nouns = [noun for noun in "abcdef" for _ in range(3)]
    n, prompts, written_tables = len(nouns), {}, {name: {} for name in TABLES}
    for task in TASKS:
        numbered = task == "numbered"
        own = (
            {"(singular form)": "singular", "(plural form)": "plural"}
            if numbered
            else {"(target)": "target", "(foil)": "foil"}
        )
        words = WORDS | own
        key = ("number", "plural", "erase") if numbered else ("target", "a", "erase")
        change = random.normal(-1, 0.1, (n, len(words)))
        about = asked_prompts(nouns, ["singular", "plural", "plural"] * 6 if numbered else [""] * n)
        before = np.exp(random.normal(-3, 0.5, change.shape))
        made = Hand(about, words, before, {key: change}, {key: random.normal(0, 0.1, (20, len(words)))})
        made.empty = [("number", "singular", "erase")] if numbered else [("target", "b", "erase")]
        made.right = {key: [(12, 6)] * 20}
        if task in tasks:
            for name, table in zip(TABLES, made.tables(), strict=True):
                written_tables[name][task] = table
            prompts[task] = made.prompts
    batch = "-".join(tasks)
    for name, tables in (written_tables | {"prompts": prompts}).items():
        write_task_tables(tables, folder / f"{batch}.{name}.parquet")
    return {name: [folder / f"{batch}.{name}.parquet"] for name in TABLES}, [folder / f"{batch}.prompts.parquet"]


def counted() -> pd.DataFrame:
    rows = [
        (word, number, 1 + k * (number == "plural"))
        for k, word in enumerate(WORDS)
        for number in ("plural", "singular")
    ]
    return pd.DataFrame(rows, columns=["word", "number", "count"]).assign(role="subject")


def columns_of(tables: ModelTables) -> dict[str, list[str]]:
    return {name: list(getattr(tables, name).columns) for name in ModelTables.__dataclass_fields__}


def test_all_tests_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = model_tables(*written(tmp_path), counted(), SETTINGS)
    for table in (tables.tests, tables.accuracy, tables.cooccurrence, tables.slopes):
        assert table.columns[0] == "task"
    assert dict(tables.tests.groupby("task").size()) == {"numbered": 20, "unnumbered": 20}
    shown = tables.tests[(tables.tests["task"] == "numbered") & (tables.tests["word"] == "any")].iloc[0]
    assert (shown["plural"], shown["singular"], shown["log_ratio"]) == (4, 1, pytest.approx(np.log(3)))
    assert list(tables.accuracy["kind"]) == ["number", "target"]
    assert list(tables.accuracy["prompts"]) == [12, 3] and list(tables.accuracy["without_neurons"]) == [6, 3]
    assert set(tables.cooccurrence["task"]) == {"numbered"} and set(tables.cooccurrence["set"]) == {"plural"}
    assert len(tables.cooccurrence) == len(WORDS)
    assert list(tables.slopes["words"]) == ["all", "without number"] and list(tables.slopes["n_words"]) == [8, 6]
    assert tables.slopes["p"].notna().all() and (tables.slopes["prompts"] == 18).all()
    said = capsys.readouterr().out
    assert "numbered: 20 tests, 10 words move beyond chance and controls" in said
    assert "  singular: no neuron is selected over 10 prompts (10 rows)" in said


def test_tables_of_models_with_and_without_cooccurrence_go_together(tmp_path: Path) -> None:
    files = written(tmp_path)
    made = {
        "mine": model_tables(*files, counted(), SETTINGS),
        "elsewhere": model_tables(*files, None, SETTINGS),
        "unnumbered": model_tables(*written(tmp_path, ["unnumbered"]), counted(), SETTINGS),
    }
    assert columns_of(made["mine"]) == columns_of(made["elsewhere"]) == columns_of(made["unnumbered"])
    assert made["elsewhere"].slopes.empty and made["unnumbered"].cooccurrence.empty
    assert made["elsewhere"].tests["log_ratio"].isna().all()
    for name in columns_of(made["mine"]):
        paths = {model: tmp_path / f"{model}.{name}.parquet" for model in made}
        for model, path in paths.items():
            getattr(made[model], name).to_parquet(path, index=False)
        table = gather_tables(paths)
        assert list(table.columns) == ["model", *columns_of(made["mine"])[name]]
        for column in set(table.columns) & {"log_change", "log_ratio", "slope", "p", "mixed_p", "accuracy_after"}:
            assert table[column].dtype == float, column
        assert set(table["model"]) == {model for model in made if len(getattr(made[model], name))}
        empty = gather_tables({model: path for model, path in paths.items() if not len(getattr(made[model], name))})
        assert empty.empty and (name in ("tests", "accuracy") or list(empty.columns) == list(table.columns))
    slopes = gather_tables({"elsewhere": tmp_path / "elsewhere.slopes.parquet"})
    assert say_cooccurrence(correct_slopes(slopes, ["model", "operation", "set", "words"])) == []


def test_shown_tests_are_the_numbers_where_there_are_any(tmp_path: Path) -> None:
    tests = model_tables(*written(tmp_path), None, SETTINGS).tests.assign(model="mine")
    extra = tests[tests["task"] == "numbered"].assign(kind="target")
    shown = shown_tests(pd.concat([tests, extra], ignore_index=True))
    assert len(shown) == 40
    assert set(zip(shown["task"], shown["kind"], strict=True)) == {("numbered", "number"), ("unnumbered", "target")}
