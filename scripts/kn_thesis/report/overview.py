"""The first page: what was run, what became of each claim, where to read on."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kn_thesis.corpora.examples import say_nothing_kept
from kn_thesis.report.claims.page import claim_section, leading, verdict_table
from kn_thesis.report.claims.words import OVER_MODELS, verdict_of
from kn_thesis.report.pages import Chapter, unlearned_note

RULE = (
    "Each claim has parts that must all hold, and each part a bound that was set beforehand (resources/claims.yaml). "
    "<em>Supported</em>: chance alone would put its weakest part on the claim's side of the bound in less than 5 % of "
    "studies, after Holm's correction over the claims. <em>Not supported</em>: the same of the other side, in a part. "
    "<em>Undecided</em>: neither. Models are combined under random effects, and no single model may say the opposite. "
    'Every part of every claim: <a href="tables/claim_parts.csv" download>claim_parts.csv</a>.'
)


def overview(
    chapters: Sequence[Chapter],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[int, str],
    study: Mapping[str, Any],
    shown: Sequence[str],
) -> str:
    """The body of the first page as HTML.

    tables: corpora, models, claims, claim_parts. figures: of each claim, by its number. study: the whole
    configuration. shown: the models that have a column; others stand in claims.csv.
    """
    claims, parts = tables["claims"], tables["claim_parts"]
    titles = {chapter.name: chapter.title for chapter in chapters}
    sections = "".join(
        claim_section(_of(claims, shown), parts, number, path, titles) for number, path in figures.items()
    )
    cards = "".join(
        f'<div class="card"><h3><a href="{chapter.name}.html">{html.escape(chapter.title)}</a></h3>'
        f"<p>{html.escape(chapter.summary)}</p></div>"
        for chapter in chapters
    )
    return (
        f'<h1>Twelve claims, answered</h1><p class="finding">{_summary(claims, shown)}</p>'
        f"{unlearned_note(tables['models'].to_dict('records'))}{_run(tables, study, shown)}"
        f'<h2 id="claims">The claims</h2>{verdict_table(claims, shown)}'
        f'<p id="rule">{RULE}</p><h2 id="pictures">One by one</h2>{sections}'
        f'<h2 id="chapters">Chapters</h2><div class="cards">{cards}</div>'
    )


def _of(claims: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    return claims[claims["model"].isin([OVER_MODELS, *shown])]


def _summary(claims: pd.DataFrame, shown: Sequence[str]) -> str:
    """How many claims are supported, contradicted and open, over models, with their numbers."""
    over = leading(claims)
    over = over[over["model"] == OVER_MODELS]
    found: dict[str, list[str]] = {}
    for _, row in over.iterrows():
        found.setdefault(verdict_of(row), []).append(f'<a href="#claim-{row["claim"]}">{row["claim"]}</a>')
    order = [name for name in ("supported", "not supported", "undecided", "not asked") if name in found]
    said = "; ".join(f"{len(found[name])} {name} ({', '.join(found[name])})" for name in order)
    return f"Of the paper's {len(over)} claims, over these models: {said}.{_against(claims, shown)}"


def _against(claims: pd.DataFrame, shown: Sequence[str]) -> str:
    """Which claims single models contradict, so that no average hides it."""
    rows = leading(claims)
    rows = rows[rows["model"].isin(shown) & (rows["verdict"] == "not supported")]
    said = [
        f'<a href="#claim-{number}">{number}</a> ({html.escape(", ".join(part["model"]))})'
        for number, part in rows.groupby("claim", sort=True)
    ]
    return f" Single models contradict {'; '.join(said)}." if said else " No single model contradicts any."


def _run(tables: Mapping[str, pd.DataFrame], study: Mapping[str, Any], shown: Sequence[str]) -> str:
    """What was run on what: a short list."""
    corpora, models = tables["corpora"], tables["models"]
    kept = corpora[corpora["reason"] == "kept"]
    own = study["corpora"]["source"] == "world"
    corpus = "a world written by the workflow, in which every co-occurrence is counted" if own else "BLiMP and ParaRel"
    known = corpora.drop_duplicates("model")  # a model of whose tasks nothing is kept is in no other table
    of = dict(zip(known["model"], known["family"], strict=True))
    named = ", ".join(
        f"<code>{html.escape(name)}</code> ({_source(study['models'][name], of[name])})" for name in shown
    )
    others = [name for name in of if name not in shown]
    beside = (
        f"; beside them, in other worlds, {', '.join(f'<code>{html.escape(name)}</code>' for name in others)}"
        if others
        else ""
    )
    kinds = kept.drop_duplicates("task")["kind"].value_counts()
    counts = " and ".join(
        f"{kinds[kind]} {kind}{'s' if kinds[kind] > 1 else ''}" for kind in ("paradigm", "relation") if kind in kinds
    )
    without = "".join(f" {html.escape(said)}" for said in say_nothing_kept(corpora[corpora["model"].isin(shown)]))
    return (
        f"<ul><li>Study <strong>{html.escape(study['study'])}</strong>, seed {study['seed']}, on {corpus}.</li>"
        f"<li>Models: {named}{beside}.</li>"
        f"<li>Asked: {kept['count'].sum():,} prompts and pairs of {counts}; "
        f"{corpora['count'].sum() - kept['count'].sum():,} were left out, each with its reason "
        f'(<a href="corpora.html">Corpora</a>).{without}</li>'
        f"<li>What the models know: {_known(models[models['model'].isin(shown)])} "
        '(<a href="models.html">Models</a>).</li></ul>'
    )


def _known(models: pd.DataFrame) -> str:
    """How many answers are right, and where fewest are."""
    if models.empty:
        return "nothing was asked of them"
    low = models.loc[models["accuracy"].idxmin()]
    return (
        f"{models['correct'].sum() / models['n'].sum():.1%} of {models['n'].sum():,} answers are right; worst in "
        f"{html.escape(low['task'])} of {html.escape(low['model'])}, {low['accuracy']:.0%}"
    )


def _source(model: Mapping[str, Any], family: str) -> str:
    """Where a model comes from: trained here with its size, a hub id, or a folder."""
    trained, hub, family = model.get("train"), model.get("hub"), html.escape(family)
    if trained:
        return f"{family}, trained here: {trained['layers']} layers of {trained['intermediate']} MLP neurons"
    return f"{family}, {html.escape(hub['id'])}" if hub else f"{family}, from a folder"
