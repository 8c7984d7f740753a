"""The first page: what was run, what came out, where to read on."""

from __future__ import annotations

import contextlib
import html
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from kn_thesis.editing import findings as editing
from kn_thesis.report.pages import Chapter
from kn_thesis.report.show import figure_html, table_html
from kn_thesis.suppression.findings import say_accuracy, say_significance
from kn_thesis.tracing.findings import first_page_sentence

PACKAGES = ("snakemake", "torch", "transformers", "datasets", "tokenizers", "pandas", "numpy", "scipy", "statsmodels")


def overview(
    chapters: Sequence[Chapter],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str],
    study: Mapping[str, Any],
) -> str:
    """The body of the first page as HTML, from the tables models, localization and corpora and one figure per chapter.

    `study` is the whole configuration; it closes the page, beside the versions of the packages.
    """
    cards = "".join(
        f'<div class="card"><h3><a href="{chapter.name}.html">{html.escape(chapter.title)}</a></h3>'
        f"<p>{html.escape(chapter.summary)}</p></div>"
        for chapter in chapters
    )
    pictures = "".join(
        f'<h3 id="overview-{chapter.name}">{html.escape(chapter.title)}</h3>'
        f"<p>{html.escape(sentence)}</p>"
        + figure_html(figures[chapter.name], f"Figure of the chapter {chapter.title}", chapter.summary)
        for chapter, sentence in zip(chapters, _findings(tables), strict=True)
    )
    packages = pd.DataFrame([("Python", platform.python_version()), *_versions()], columns=["package", "version"])
    settings = pd.DataFrame(_flat(study), columns=["key", "value"])
    return (
        "<h1>What was found</h1>" + pictures + '<h2 id="chapters">Chapters</h2><div class="cards">' + cards + "</div>"
        '<h2 id="provenance">What was run</h2>'
        + table_html(settings, "configuration", "The whole configuration, defaults included.", download=False)
        + table_html(packages, "packages", "Versions of what did the work.", download=False)
    )


def _versions() -> list[tuple[str, str]]:
    """Name and version of each package that is installed where the report is built."""
    found = []
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return found


def _findings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A sentence or two per chapter: corpora, models, localization, suppression, tracing, editing."""
    corpora, models, localization = tables["corpora"], tables["models"], tables["localization"]
    kept = corpora[corpora["reason"] == "kept"]["count"].sum()
    ends = models.loc[models["accuracy"].idxmin()]
    medians = localization.groupby("kind")[["KN", "tau", "R2_1"]].median()
    compared = "; ".join(
        f"{plural} {row['KN']:.2f} neurons per group, τ {row['tau']:.2f}, R²₁ {row['R2_1']:.2f}"
        for kind, plural in (("paradigm", "paradigms"), ("relation", "relations"))
        for row in [medians.loc[kind] if kind in medians.index else None]
        if row is not None
    )
    return [
        f"{kept:,} prompts and pairs over {corpora['task'].nunique()} tasks are used; "
        f"{corpora['count'].sum() - kept:,} are counted as left out, with the reason.",
        f"{models['model'].nunique()} models answer {models['n'].sum():,} prompts. The lowest accuracy is "
        f"{ends['accuracy']:.1%} ({ends['model']} on {ends['task']}, {ends['split']}).",
        f"Medians over models and tasks: {compared}.",
        f"{say_significance(tables['significance'])} {say_accuracy(tables['accuracy'])}",
        first_page_sentence(tables["tracing"]),
        editing.first_page_sentence(tables["editing"], tables["editing_directions"]),
    ]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(inner, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, "" if value is None else str(value))]
