"""All tests of one model, and the tables that people open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_thesis.suppression import accuracy, company, statistics
from kn_thesis.suppression.accuracy import accuracy_table
from kn_thesis.suppression.company import log_ratios, number_effects, regressions
from kn_thesis.suppression.sets import control_sample
from kn_thesis.suppression.statistics import suppression_tests

TABLES = ("effects", "controls", "sets", "words")
# Columns of what `model_tables` gives, beside model and task.
COLUMNS = {
    "tests": [*statistics.COLUMNS, "plural", "singular", "log_ratio"],
    "accuracy": accuracy.COLUMNS,
    "slopes": company.SLOPES,
}


@dataclass(frozen=True)
class Settings:
    """Of the tests: level of significance, prompts of the sample, resamples and confidence of intervals, seeds.

    published_over: see `suppression_tests`.
    """

    level: float
    sample: int
    sample_seed: int
    resamples: int
    confidence: float
    seed: int
    published_over: str


@dataclass(frozen=True)
class ModelTables:
    """A model's results over its tasks, each with the column task.

    tests: see `suppression_tests`, with plural, singular, log_ratio of the word where its company is known. accuracy:
    see `accuracy_table`. company: mean log_change of each word under the numbers' sets and their contrast, with its
    company. slopes: see `regressions`; no row where no company is known.
    """

    tests: pd.DataFrame
    accuracy: pd.DataFrame
    company: pd.DataFrame
    slopes: pd.DataFrame


def model_tables(
    folder: str | Path, prompts: Mapping[str, str], cooccurrence: pd.DataFrame | None, settings: Settings
) -> ModelTables:
    """Test everything of one model: `folder` has its suppression files, `prompts` the table of prompts of each task."""
    counted = log_ratios(NO_COUNTS if cooccurrence is None else cooccurrence)
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in ModelTables.__dataclass_fields__}
    for task, path in prompts.items():
        effects, controls, sets, words = (pd.read_parquet(Path(folder) / f"{task}.{name}.parquet") for name in TABLES)
        asked = pd.read_parquet(path, columns=["prompt", "group", "number", "noun", "attributed"])
        interval = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
        how = {"level": settings.level, "published_over": settings.published_over}
        tests = suppression_tests(effects, controls, sets, words, asked, **how, **interval)
        numbers = number_effects(effects)
        means = numbers.groupby(["operation", "set", "word", "word_group"], observed=True, sort=False)[
            "log_change"
        ].mean()
        sample = asked["prompt"].iloc[control_sample(list(asked["prompt"]), settings.sample, settings.sample_seed)]
        parts = {
            "tests": tests.join(counted, on="word"),
            "accuracy": accuracy_table(effects, sets, asked, settings.confidence),
            "company": means.reset_index().astype({"word": str}).join(counted, on="word"),
            "slopes": regressions(numbers, counted["log_ratio"], set(sample), settings.confidence),
        }
        for name, part in parts.items():
            part.insert(0, "task", task)
            found[name].append(part)
        print(f"{task}: {len(tests)} tests, {int(tests['significant'].sum())} words move beyond chance and controls")
        for note, rows in tests[tests["note"] != ""].groupby(["set", "note"], sort=False).groups.items():
            print(f"  {note[0]}: {note[1]} ({len(rows)} rows)")
    return ModelTables(**{name: pd.concat(parts, ignore_index=True) for name, parts in found.items()})


NO_COUNTS = pd.DataFrame({"word": pd.Series(dtype=str), "role": "", "number": pd.Series(dtype=str), "count": 0})


def shown_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """The tests that go into the table people open: numbers' sets, and targets' where a task has no numbers."""
    numbered = tests.groupby(["model", "task"])["kind"].transform(lambda kinds: (kinds == "number").any())
    return tests[(tests["kind"] == "number") | ~numbered]


def significance_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Where the published test and the careful one disagree: a row per model, task, kind, set and operation.

    words tested by both; both, published_only, careful_only, neither: how many; the words of the second and third.
    """
    key = ["model", "task", "kind", "set", "operation"]
    tested = tests[tests["p_published"].notna() & tests["p_paired_holm"].notna()]
    rows = []
    for values, part in tested.groupby(key, sort=False, observed=True):
        published, careful = part["significant_published"], part["significant"]
        only = {"published_only": published & ~careful, "careful_only": careful & ~published}
        rows.append(
            dict(zip(key, values, strict=True))
            | {"words": len(part), "both": int((published & careful).sum())}
            | {name: int(chosen.sum()) for name, chosen in only.items()}
            | {"neither": int((~published & ~careful).sum())}
            | {f"words_{name}": " ".join(part.loc[chosen, "word"]) for name, chosen in only.items()}
        )
    columns = [*key, "words", "both", "published_only", "careful_only", "neither"]
    return pd.DataFrame(rows, columns=[*columns, "words_published_only", "words_careful_only"])


def gathered(paths: Mapping[str, str | Path], columns: Sequence[str] = ()) -> pd.DataFrame:
    """The tables of several models in one, with the column model first; empty ones are passed over.

    `columns` are those of the table where no model has one, as in a study without paradigms.
    """
    tables = list(_read(paths))
    if not tables:
        return pd.DataFrame(columns=["model", "task", *columns])
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _read(paths: Mapping[str, str | Path]) -> Iterator[pd.DataFrame]:
    for model, path in paths.items():
        table = pd.read_parquet(path)
        table.insert(0, "model", model)
        yield table
