"""Run all suppression tests of one model (`model_tables`), and build the CSV tables over all models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_thesis.files import read_task_tables, read_tasks
from kn_thesis.suppression import regression, statistics
from kn_thesis.suppression.regression import log_ratios, number_effects, regressions
from kn_thesis.suppression.sets import control_sample
from kn_thesis.suppression.statistics import accuracy_table, suppression_tests

TABLES = ("effects", "controls", "sets", "words")
# Columns of the tables that `model_tables` returns, apart from model and task.
COLUMNS = {
    "tests": [*statistics.WORD_COLUMNS, "plural", "singular", "log_ratio"],
    "accuracy": statistics.ACCURACY_COLUMNS,
    "slopes": regression.SLOPES,
}
NO_COUNTS = pd.DataFrame({"word": pd.Series(dtype=str), "role": "", "number": pd.Series(dtype=str), "count": 0})


@dataclass(frozen=True)
class Settings:
    """Settings of the tests.

    Attributes:
        level: Significance level.
        sample: Number of prompts in the control sample.
        sample_seed: Seed of the control sample.
        resamples: Bootstrap resamples.
        confidence: Confidence level of the intervals.
        seed: Seed of the bootstrap.
        published_over: See `suppression_tests`.
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
    """A model's results over its tasks; each table starts with the column task.

    Attributes:
        tests: See `suppression_tests`, with plural, singular and log_ratio of words whose co-occurrence is known.
        accuracy: See `accuracy_table`.
        cooccurrence: Mean log_change (nats) of each word under the numbers' sets and their contrast, with plural,
            singular and log_ratio.
        slopes: See `regressions`; without rows if no co-occurrence is known.
    """

    tests: pd.DataFrame
    accuracy: pd.DataFrame
    cooccurrence: pd.DataFrame
    slopes: pd.DataFrame


def model_tables(
    files: Mapping[str, Sequence[str | Path]],
    prompts: Sequence[str | Path],
    cooccurrence: pd.DataFrame | None,
    settings: Settings,
) -> ModelTables:
    """Run all tests of one model, and print how many words move in each task.

    Args:
        files: The files of each of `TABLES`, one for each batch of the model's paradigms.
        prompts: The model's files of prompts that have these paradigms.
        cooccurrence: Counts, see `log_ratios`; None if they are not known.
        settings: Settings of the tests.

    Returns:
        The results over all tasks.
    """
    counts = log_ratios(NO_COUNTS if cooccurrence is None else cooccurrence)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ModelTables.__dataclass_fields__}
    about_prompts = read_tasks(prompts, columns=["prompt", "group", "number", "noun", "attributed"])
    for task, (effects, controls, sets, words) in _by_task(files):
        about = about_prompts[task]
        interval = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
        options = {"level": settings.level, "published_over": settings.published_over}
        tests = suppression_tests(effects, controls, sets, words, about, **options, **interval)
        numbers = number_effects(effects)
        key = ["operation", "set", "word", "word_group"]
        means = numbers.groupby(key, observed=True, sort=False)["log_change"].mean()
        sample = about["prompt"].iloc[control_sample(list(about["prompt"]), settings.sample, settings.sample_seed)]
        tables = {
            "tests": tests.join(counts, on="word"),
            "accuracy": accuracy_table(effects, sets, about, settings.confidence),
            "cooccurrence": means.reset_index().astype({"word": str}).join(counts, on="word"),
            "slopes": regressions(numbers, counts["log_ratio"], set(sample), settings.confidence),
        }
        for name, table in tables.items():
            table.insert(0, "task", task)
            parts[name].append(table)
        print(f"{task}: {len(tests)} tests, {int(tests['significant'].sum())} words move beyond chance and controls")
        for note, rows in tests[tests["note"] != ""].groupby(["set", "note"], sort=False).groups.items():
            print(f"  {note[0]}: {note[1]} ({len(rows)} rows)")
    return ModelTables(**{name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()})


def _by_task(files: Mapping[str, Sequence[str | Path]]) -> Iterator[tuple[str, tuple[pd.DataFrame, ...]]]:
    """Yield each task with its `TABLES`, which may be large, one after the other."""
    for paths in zip(*(files[name] for name in TABLES), strict=True):
        for parts in zip(*(read_task_tables(path) for path in paths), strict=True):
            yield parts[0][0], tuple(table for _, table in parts)


def gather_tables(paths: Mapping[str, str | Path], columns: Sequence[str] = ()) -> pd.DataFrame:
    """Join the tables of several models, with the column model first; empty tables are skipped.

    Args:
        paths: Parquet file of each model.
        columns: Columns of the result if there are no models, as in a study without paradigms.

    Returns:
        The rows of all models.
    """
    tables = []
    for model, path in paths.items():
        table = pd.read_parquet(path)
        table.insert(0, "model", model)
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["model", "task", *columns])
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def shown_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """Select the tests for suppression.csv: of the numbers' sets, or of the targets' where a task has no numbers."""
    numbered = tests.groupby(["model", "task"])["kind"].transform(lambda kinds: (kinds == "number").any())
    return tests[(tests["kind"] == "number") | ~numbered]


def significance_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Count where the published test and the paired one disagree.

    Args:
        tests: suppression.csv.

    Returns:
        One row per model, task, kind, set and operation: words (tested both ways), the counts both, published_only,
        paired_only and neither, and the words behind the second and third (words_published_only, words_paired_only).
    """
    key = ["model", "task", "kind", "set", "operation"]
    tested = tests[tests["p_published"].notna() & tests["p_paired_holm"].notna()]
    rows = []
    for values, part in tested.groupby(key, sort=False, observed=True):
        published, paired = part["significant_published"], part["significant"]
        only = {"published_only": published & ~paired, "paired_only": paired & ~published}
        rows.append(
            dict(zip(key, values, strict=True))
            | {"words": len(part), "both": int((published & paired).sum())}
            | {name: int(mask.sum()) for name, mask in only.items()}
            | {"neither": int((~published & ~paired).sum())}
            | {f"words_{name}": " ".join(part.loc[mask, "word"]) for name, mask in only.items()}
        )
    columns = [*key, "words", "both", "published_only", "paired_only", "neither"]
    return pd.DataFrame(rows, columns=[*columns, "words_published_only", "words_paired_only"])
