"""Show verdicts on pages: the table of all claims, a section per claim, and a chapter's claims."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from kn_thesis.report.claims.labels import (
    OVER_MODELS,
    chip,
    effect,
    models_phrase,
    published,
    verdict_of,
    verdict_reason,
)
from kn_thesis.report.show import figure_html, table_html

if TYPE_CHECKING:
    from IPython.display import HTML


OUTCOMES = {"yes": "holds", "no": "fails", "open": "open"}


def leading(claims: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of claims.csv (or claim_parts.csv) with the variant that the claim is judged by."""
    return claims[claims["headline"].astype(str) == "True"]


def verdict_table(claims: pd.DataFrame, models: Sequence[str]) -> str:
    """Build the first page's table of claims: verdicts, the effect of the part that stands for the claim, its source.

    Args:
        claims: claims.csv.
        models: the models that have a column.

    Returns:
        A row per claim, as HTML.
    """
    rows = []
    for number, part in leading(claims).groupby("claim", sort=False):
        known = part.set_index("model", drop=False)
        over = known.loc[OVER_MODELS]
        names = {"over models": OVER_MODELS} | {name: name for name in models if name in known.index}
        row = {"claim": f'<a href="#claim-{number}">{number}. {html.escape(over["says"])}</a>'}
        row |= {name: chip(verdict_of(known.loc[model])) for name, model in names.items()}
        row["measured, over models"] = _captioned(effect(over), over["measure"])
        row["published"] = _captioned(published(over), over["place"])
        rows.append(row)
    table = pd.DataFrame(rows)
    caption = (
        "Verdicts over models and in one model of each family. The line below a number says what was measured, or "
        "where it was published. The file has every model and every variant of a method."
    )
    return table_html(table, "claims", caption, markup=list(table.columns))


def _captioned(value: str, caption: object) -> str:
    """A value with a caption below; "" without a value."""
    if not value:
        return ""
    return f"{html.escape(value)} <small>{'' if pd.isna(caption) else html.escape(str(caption))}</small>"


def claim_section(
    claims: pd.DataFrame, parts: pd.DataFrame, number: int, figure: str, titles: Mapping[str, str]
) -> str:
    """Build the first page's section on one claim: its sentence, its verdicts, its figure, and where to read on.

    Args:
        claims: claims.csv.
        parts: claim_parts.csv.
        number: the claim's number.
        figure: path of its figure.
        titles: titles of the chapters, by name.

    Returns:
        The section as HTML.
    """
    rows = claims[claims["claim"] == number]
    headlines = leading(rows)
    over = headlines[headlines["model"] == OVER_MODELS].iloc[0]
    sentence = html.escape(str(over["says"]))
    variants = rows[~rows.index.isin(headlines.index)]
    others = "".join(f"<li>{_verdict_line(row, parts)}</li>" for _, row in variants.iterrows())
    more = f"<details><summary>Other variants of the method</summary><ul>{others}</ul></details>" if others else ""
    lines = "".join(f"<li>{_verdict_line(row, parts)}</li>" for _, row in headlines.iterrows())
    alt = f"Claim {number}: {_alt(headlines)}"
    caption = f"Claim {number}. Shaded: the claim's side of the bound."
    chapter = f'<a href="{over["chapter"]}.html">{html.escape(titles[over["chapter"]])}</a>'
    return (
        f'<section class="claim"><h3 id="claim-{number}">{number}. {sentence}</h3>'
        f"<p>{chip(verdict_of(over))} over models</p>"
        f'<div class="beside">{figure_html(figure, alt, caption)}'
        f'<div><ul class="verdicts">{lines}</ul>{more}<p>Read on: {chapter}.</p></div></div></section>'
    )


def verdicts(claims: pd.DataFrame, parts: pd.DataFrame, chapter: str) -> HTML:
    """Show the verdicts on a chapter's claims in its notebook: one line per claim, with every model's verdict below.

    Args:
        claims: claims.csv.
        parts: claim_parts.csv.
        chapter: the chapter's name.

    Returns:
        A list for the notebook.
    """
    from IPython.display import HTML

    return HTML(verdicts_html(claims, parts, chapter))


def verdicts_html(claims: pd.DataFrame, parts: pd.DataFrame, chapter: str) -> str:
    """The HTML of `verdicts` as a string."""
    items = []
    for number, rows in leading(claims[claims["chapter"] == chapter]).groupby("claim", sort=False):
        over = rows[rows["model"] == OVER_MODELS].iloc[0]
        single = rows[rows["model"] != OVER_MODELS]
        chips = " ".join(f"{html.escape(models_phrase(row))} {chip(verdict_of(row))}" for _, row in single.iterrows())
        items.append(
            f'<li><a href="index.html#claim-{number}">Claim {number}</a>: {html.escape(over["says"])} '
            f"{chip(verdict_of(over))}<br><small>{html.escape(verdict_reason(over, parts))}</small><br>"
            f"<small>{chips}</small></li>"
        )
    return f'<div class="finding"><ul>{"".join(items)}</ul></div>'


def say_parts(parts: pd.DataFrame, numbers: Sequence[int]) -> list[str]:
    """Say which parts of claims hold, fail or stay open, before correction over claims.

    Args:
        parts: claim_parts.csv.
        numbers: the claims' numbers.

    Returns:
        One line of Markdown per claim and model; parts that were not asked are left out.
    """
    if not len(parts):
        return []
    rows = parts[parts["claim"].isin(numbers) & (parts["model"] != OVER_MODELS) & parts["effect"].notna()]
    lines = []
    for (number, model), of_model in rows.groupby(["claim", "model"], sort=False):
        sentences = []
        for _, part in of_model.groupby("variant", sort=False, dropna=False):
            outcomes = [
                f"{word} for " + ", ".join(f"{row['part']} {effect(row)}" for _, row in here.iterrows())
                for key, word in OUTCOMES.items()
                if len(here := part[part["holds"] == key])
            ]
            sentences.append(f"{models_phrase(part.iloc[0]).removeprefix(f'{model}, ')}: {'; '.join(outcomes)}")
        lines.append(f"**{model}**, claim {number}. " + ". ".join(sentences) + ".")
    return lines


def _verdict_line(row: pd.Series, parts: pd.DataFrame) -> str:
    reason = html.escape(verdict_reason(row, parts))
    return f"<strong>{html.escape(models_phrase(row))}</strong> {chip(verdict_of(row))} <small>{reason}</small>"


def _alt(rows: pd.DataFrame) -> str:
    """The figure's contents for readers who cannot see it."""
    return "; ".join(
        f"{models_phrase(row)}: {effect(row) or 'no estimate'}, {verdict_of(row)}" for _, row in rows.iterrows()
    )
