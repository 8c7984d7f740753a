"""Build the first page of the report: what was run, the verdict on each claim, and where to read on."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kn_thesis.report.claims.labels import OVER_MODELS, verdict_of
from kn_thesis.report.claims.verdicts import claim_section, leading, verdict_table
from kn_thesis.report.pages import Chapter, unlearned_note

RULE = (
    "A claim consists of parts, and all of them must hold. Each part has a bound, fixed before any run of the paper's "
    "models and set after runs of the miniature had been seen (resources/claims.yaml). "
    "<em>Supported</em>: chance alone would put the claim's weakest part on the claim's side of its bound in less than "
    "5 % of studies, after Holm's correction over the claims. <em>Not supported</em>: chance alone would put one of "
    "its parts on the other side equally rarely. <em>Undecided</em>: neither or both. Models are combined under random "
    "effects, and a verdict over models stands only if no single model has the opposite verdict. "
    'Every part of every claim: <a href="tables/claim_parts.csv" download>claim_parts.csv</a>.'
)


def overview(
    chapters: Sequence[Chapter],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[int, str],
    study: Mapping[str, Any],
    columns: Sequence[str],
) -> str:
    """Write the body of the first page.

    Args:
        chapters: the chapters that have a card.
        tables: the tables corpora, models, claims and claim_parts, by name.
        figures: each claim's figure, by its number.
        study: the whole configuration.
        columns: the models that have a column; claims.csv has the others, too.

    Returns:
        The body as HTML.
    """
    claims, parts = tables["claims"], tables["claim_parts"]
    titles = {chapter.name: chapter.title for chapter in chapters}
    rows = claims[claims["model"].isin([OVER_MODELS, *columns])]
    sections = "".join(claim_section(rows, parts, number, path, titles) for number, path in figures.items())
    cards = "".join(
        f'<div class="card"><h3><a href="{chapter.name}.html">{html.escape(chapter.title)}</a></h3>'
        f"<p>{html.escape(chapter.summary)}</p></div>"
        for chapter in chapters
    )
    return (
        f'<h1>Verdicts on the twelve claims</h1><p class="finding">{_summary(claims, columns)}</p>'
        f"{unlearned_note(tables['models'].to_dict('records'))}{_run(tables, study, columns)}"
        f'<h2 id="claims">The claims</h2>{verdict_table(claims, columns)}'
        f'<p id="rule">{RULE}</p><h2 id="pictures">Claim by claim</h2>{sections}'
        f'<h2 id="chapters">Chapters</h2><div class="cards">{cards}</div>'
    )


def say_nothing_kept(counts: pd.DataFrame) -> list[str]:
    """Name the tasks without a usable item.

    Args:
        counts: corpora.csv.

    Returns:
        One sentence for each task without a kept item for some models.
    """
    nothing = counts[(counts["reason"] == "kept") & (counts["count"] == 0)]
    models = nothing.groupby("task", sort=False)["model"].agg(", ".join)
    return [f"No item of {task} is kept for {names}." for task, names in models.items()]


def _summary(claims: pd.DataFrame, columns: Sequence[str]) -> str:
    """How many claims have which verdict over models, with their numbers."""
    over = leading(claims)
    over = over[over["model"] == OVER_MODELS]
    links: dict[str, list[str]] = {}
    for _, row in over.iterrows():
        links.setdefault(verdict_of(row), []).append(f'<a href="#claim-{row["claim"]}">{row["claim"]}</a>')
    order = [name for name in ("supported", "not supported", "undecided", "not asked") if name in links]
    counts = "; ".join(f"{len(links[name])} {name} ({', '.join(links[name])})" for name in order)
    return f"Of the paper's {len(over)} claims, over these models: {counts}.{_against(claims, columns)}"


def _against(claims: pd.DataFrame, columns: Sequence[str]) -> str:
    """Which claims single models contradict, so that no average hides it."""
    rows = leading(claims)
    rows = rows[rows["model"].isin(columns) & (rows["verdict"] == "not supported")]
    contradictions = [
        f'<a href="#claim-{number}">{number}</a> ({html.escape(", ".join(part["model"]))})'
        for number, part in rows.groupby("claim", sort=True)
    ]
    if not contradictions:
        return " No single model contradicts any."
    return f" Single models contradict {'; '.join(contradictions)}."


def _run(tables: Mapping[str, pd.DataFrame], study: Mapping[str, Any], columns: Sequence[str]) -> str:
    """A short list of what was run: study, models, prompts, and what the models know."""
    corpora, models = tables["corpora"], tables["models"]
    used = corpora[corpora["reason"] == "kept"]
    own = study["corpora"]["source"] == "world"
    corpus = "a world written by the workflow, in which every co-occurrence is counted" if own else "BLiMP and ParaRel"
    known = corpora.drop_duplicates("model")  # a model without any kept item is in no other table
    families = dict(zip(known["model"], known["family"], strict=True))
    named = ", ".join(
        f"<code>{html.escape(name)}</code> ({_source(study['models'][name], families[name])})" for name in columns
    )
    others = [name for name in families if name not in columns]
    beside = (
        f"; in other worlds also {', '.join(f'<code>{html.escape(name)}</code>' for name in others)}" if others else ""
    )
    kinds = used.drop_duplicates("task")["kind"].value_counts()
    counts = " and ".join(
        f"{kinds[kind]} {kind}{'s' if kinds[kind] > 1 else ''}" for kind in ("paradigm", "relation") if kind in kinds
    )
    without = "".join(f" {html.escape(note)}" for note in say_nothing_kept(corpora[corpora["model"].isin(columns)]))
    return (
        f"<ul><li>Study <strong>{html.escape(study['study'])}</strong>, seed {study['seed']}, on {corpus}.</li>"
        f"<li>Models: {named}{beside}.</li>"
        f"<li>Prompts: {used['count'].sum():,} prompts and pairs from {counts}; "
        f"{corpora['count'].sum() - used['count'].sum():,} were left out, each for a stated reason "
        f'(<a href="corpora.html">Corpora</a>).{without}</li>'
        f"<li>What the models know: {_known(models[models['model'].isin(columns)])} "
        '(<a href="models.html">Models</a>).</li></ul>'
    )


def _known(models: pd.DataFrame) -> str:
    """How many answers are right, and the task with the lowest accuracy."""
    if models.empty:
        return "nothing was asked of them"
    low = models.loc[models["accuracy"].idxmin()]
    return (
        f"{models['correct'].sum() / models['n'].sum():.1%} of {models['n'].sum():,} answers are right; lowest on "
        f"{html.escape(low['task'])} of {html.escape(low['model'])}, {low['accuracy']:.0%}"
    )


def _source(model: Mapping[str, Any], family: str) -> str:
    """Where a model comes from: trained here with its size, a hub id, or a folder."""
    trained, hub, family = model.get("train"), model.get("hub"), html.escape(family)
    if trained:
        return f"{family}, trained here: {trained['layers']} layers of {trained['intermediate']} MLP neurons"
    return f"{family}, {html.escape(hub['id'])}" if hub else f"{family}, from a folder"
