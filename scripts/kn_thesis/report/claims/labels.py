"""Write verdicts, effects, bounds and published values of claims.csv and claim_parts.csv as text."""

from __future__ import annotations

import html
import math

import pandas as pd

from kn_thesis.editing.labels import editor_words

OVER_MODELS = "all"
SYMBOLS = {"supported": "✓", "not supported": "✗", "undecided": "?", "not asked": "–"}
SIDES = {"above": "above", "below": "below", "within": "within ±"}


def verdict_of(row: pd.Series) -> str:
    """Return the verdict of a row of claims.csv, or "not asked"."""
    return str(row["verdict"]) if str(row["asked"]) == "True" else "not asked"


def chip(verdict: str) -> str:
    """Return a verdict as HTML; the page's style gives it colour and symbol."""
    return f'<span class="verdict {verdict.replace(" ", "-")}">{html.escape(verdict)}</span>'


def number(value: float, form: str) -> str:
    """Write a value in its claim's form, `number` or `percent`: "-0.15", "0.47 %"; "" for a missing one."""
    if pd.isna(value):
        return ""
    if form == "percent":
        share = 100 * value
        return f"{share:.0f} %" if abs(share) >= 10 or share == 0 else f"{share:.2g} %"
    return "0" if value == 0 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def effect(row: pd.Series) -> str:
    """Write a row's effect with its interval, such as "0.47 % [0.35 %, 0.58 %]"; "" for a missing one."""
    value, low, high = (number(row[name], row["form"]) for name in ("effect", "low", "high"))
    return f"{value} [{low}, {high}]" if low and high else value


def published(row: pd.Series) -> str:
    """Write what the paper reports on a row: its number, or its words; "" if nothing is known."""
    value = number(row["published"], row["form"])
    return value or ("" if pd.isna(row["published_text"]) else str(row["published_text"]))


def bound(row: pd.Series) -> str:
    """Write the side of the bound on which the claim has the measure, such as "below 1 %"."""
    space = "" if row["side"] == "within" else " "
    return f"{SIDES[row['side']]}{space}{number(row['bound'], row['form'])}"


def models_phrase(row: pd.Series) -> str:
    """Name the model of a row and the variant that it is judged by: "gpt2, ROME (gap)", "over models"."""
    variant = "" if pd.isna(row["variant"]) else str(row["variant"])
    name = "over models" if row["model"] == OVER_MODELS else str(row["model"])
    return f"{name}, {', '.join(editor_words(one) for one in variant.split())}" if variant else name


def verdict_reason(row: pd.Series, parts: pd.DataFrame) -> str:
    """Give the reason for a verdict: its deciding part with effect, bound, units and corrected p-value.

    Args:
        row: of claims.csv.
        parts: claim_parts.csv.

    Returns:
        One line of plain text.
    """
    if verdict_of(row) == "not asked":
        return f"{row['note']}"
    same = parts["variant"].isna() if pd.isna(row["variant"]) else parts["variant"] == row["variant"]
    same &= (parts["claim"] == row["claim"]) & (parts["model"] == row["model"])
    part = parts[same & (parts["part"] == row["deciding"])].iloc[0]
    if pd.isna(part["effect"]):
        return f"the part “{part['part']}” cannot be measured: {part['note']}"
    p = row["p_against_holm"] if row["verdict"] == "not supported" else row["p_for_holm"]
    return f"{part['says']}: {effect(part)}, claimed {bound(part)} ({part['units']:.0f} {part['unit']}{_p_words(p)})"


def _p_words(p: float) -> str:
    """A corrected p-value after a comma; "" for a missing one."""
    if math.isnan(p):
        return ""
    return f", p(Holm) {'< 0.0001' if p < 1e-4 else f'= {p:.2g}'}"
