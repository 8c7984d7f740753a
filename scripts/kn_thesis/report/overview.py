"""The first page: what was run, what came out, where to read on."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import pandas as pd

from kn_thesis.editing import findings as editing
from kn_thesis.report.pages import Chapter
from kn_thesis.report.show import figure_html
from kn_thesis.suppression.findings import say_accuracy, say_significance
from kn_thesis.tracing.findings import first_page_sentence


def overview(
    chapters: Sequence[Chapter],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str],
) -> str:
    """The body of the first page as HTML, from the chapters' tables and a figure of each."""
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
    return (
        "<h1>What was found</h1>" + pictures + '<h2 id="chapters">Chapters</h2><div class="cards">' + cards + "</div>"
    )


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
