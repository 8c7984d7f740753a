"""Verdicts on pages: the table of the claims, a section per claim, and what a chapter's claims came to."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from kn_thesis.report.claims.words import OVER_MODELS, chip, effect, published, say, verdict_of, who
from kn_thesis.report.show import figure_html, table_html

if TYPE_CHECKING:
    from IPython.display import HTML

WENT = {"yes": "holds", "no": "fails", "open": "open"}


def leading(claims: pd.DataFrame) -> pd.DataFrame:
    """The rows of claims.csv (or claim_parts.csv) whose variant a claim is judged by."""
    return claims[claims["headline"].astype(str) == "True"]


def verdict_table(claims: pd.DataFrame, models: Sequence[str]) -> str:
    """The table of the first page, in HTML: a row per claim; verdict over models and in each of `models`, the effect
    of the part that the claim shows with its interval, the published value.
    """
    rows = []
    for number, part in leading(claims).groupby("claim", sort=False):
        known = part.set_index("model", drop=False)
        over = known.loc[OVER_MODELS]
        names = {"over models": OVER_MODELS} | {name: name for name in models if name in known.index}
        row = {"claim": f'<a href="#claim-{number}">{number}. {html.escape(over["says"])}</a>'}
        row |= {name: chip(verdict_of(known.loc[model])) for name, model in names.items()}
        row["measured, over models"] = _above(effect(over), over["measure"])
        row["published"] = _above(published(over), over["place"])
        rows.append(row)
    table = pd.DataFrame(rows)
    caption = (
        "Verdicts over models and in one model of each family. Below each number stands what was measured, or where it "
        "was published. The file has every model and every variant of a method."
    )
    return table_html(table, "claims", caption, markup=list(table.columns))


def _above(value: str, words: object) -> str:
    """A value with words on it below; nothing without a value."""
    return f"{html.escape(value)} <small>{'' if pd.isna(words) else html.escape(str(words))}</small>" if value else ""


def claim_section(
    claims: pd.DataFrame, parts: pd.DataFrame, number: int, figure: str, titles: Mapping[str, str]
) -> str:
    """One claim of the first page: its sentence, its verdicts, the picture, and where to read on, in HTML.

    titles: of the chapters, by name.
    """
    rows = claims[claims["claim"] == number]
    led = leading(rows)
    over = led[led["model"] == OVER_MODELS].iloc[0]
    said = html.escape(str(over["says"]))
    beside = rows[~rows.index.isin(led.index)]
    others = "".join(f"<li>{_verdict_line(row, parts)}</li>" for _, row in beside.iterrows())
    more = f"<details><summary>Other variants of the method</summary><ul>{others}</ul></details>" if others else ""
    lines = "".join(f"<li>{_verdict_line(row, parts)}</li>" for _, row in led.iterrows())
    alt = f"Claim {number}: {_alt(led)}"
    chapter = f'<a href="{over["chapter"]}.html">{html.escape(titles[over["chapter"]])}</a>'
    return (
        f'<section class="claim"><h3 id="claim-{number}">{number}. {said}</h3>'
        f"<p>{chip(verdict_of(over))} over models</p>"
        f'<div class="beside">{figure_html(figure, alt, f"Claim {number}. Shaded: where the claim has it.")}'
        f'<div><ul class="verdicts">{lines}</ul>{more}<p>Read on: {chapter}.</p></div></div></section>'
    )


def verdicts(claims: pd.DataFrame, parts: pd.DataFrame, chapter: str) -> HTML:
    """What the claims of a chapter came to, for its notebook: one line each, every model's verdict below."""
    from IPython.display import HTML

    return HTML(verdicts_html(claims, parts, chapter))


def verdicts_html(claims: pd.DataFrame, parts: pd.DataFrame, chapter: str) -> str:
    """The same as a string."""
    found = []
    for number, rows in leading(claims[claims["chapter"] == chapter]).groupby("claim", sort=False):
        over = rows[rows["model"] == OVER_MODELS].iloc[0]
        single = rows[rows["model"] != OVER_MODELS]
        chips = " ".join(f"{html.escape(who(row))} {chip(verdict_of(row))}" for _, row in single.iterrows())
        found.append(
            f'<li><a href="index.html#claim-{number}">Claim {number}</a>: {html.escape(over["says"])} '
            f"{chip(verdict_of(over))}<br><small>{html.escape(say(over, parts))}</small><br><small>{chips}</small></li>"
        )
    return f'<div class="finding"><ul>{"".join(found)}</ul></div>'


def say_parts(parts: pd.DataFrame, numbers: Sequence[int]) -> list[str]:
    """Which parts of some claims hold, fail and stay open (before correction over claims), in Markdown.

    A line per claim, model and variant, from claim_parts.csv; what is not asked is not named.
    """
    if not len(parts):
        return []
    rows = parts[parts["claim"].isin(numbers) & (parts["model"] != OVER_MODELS) & parts["effect"].notna()]
    lines = []
    for (number, model), of_model in rows.groupby(["claim", "model"], sort=False):
        said = []
        for _, part in of_model.groupby("variant", sort=False, dropna=False):
            went = [
                f"{word} for " + ", ".join(f"{row['part']} {effect(row)}" for _, row in here.iterrows())
                for key, word in WENT.items()
                if len(here := part[part["holds"] == key])
            ]
            said.append(f"{who(part.iloc[0]).removeprefix(f'{model}, ')}: {'; '.join(went)}")
        lines.append(f"**{model}**, claim {number}. " + ". ".join(said) + ".")
    return lines


def _verdict_line(row: pd.Series, parts: pd.DataFrame) -> str:
    said = html.escape(say(row, parts))
    return f"<strong>{html.escape(who(row))}</strong> {chip(verdict_of(row))} <small>{said}</small>"


def _alt(rows: pd.DataFrame) -> str:
    """The picture's contents for those who cannot see it."""
    return "; ".join(f"{who(row)}: {effect(row) or 'no estimate'}, {verdict_of(row)}" for _, row in rows.iterrows())
