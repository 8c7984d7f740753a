"""How claims.csv and claim_parts.csv are read aloud: verdicts, effects, published values."""

from __future__ import annotations

import html
import math

import pandas as pd

from kn_thesis.editing.words import editor_words

OVER_MODELS = "all"
SYMBOLS = {"supported": "✓", "not supported": "✗", "undecided": "?", "not asked": "–"}
SIDES = {"above": "above", "below": "below", "within": "within ±"}


def verdict_of(row: pd.Series) -> str:
    """A verdict, or that a model is not asked the claim."""
    return str(row["verdict"]) if str(row["asked"]) == "True" else "not asked"


def chip(verdict: str) -> str:
    """A verdict as a coloured word with a symbol, in HTML."""
    return f'<span class="verdict {verdict.replace(" ", "-")}">{SYMBOLS[verdict]} {html.escape(verdict)}</span>'


def number(value: float, form: str) -> str:
    """A value as its claim writes it: "0.47 %", "-0.15"; "" for none."""
    if pd.isna(value):
        return ""
    if form == "percent":
        share = 100 * value
        return f"{share:.0f} %" if abs(share) >= 10 or share == 0 else f"{share:.2g} %"
    return "0" if value == 0 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def effect(row: pd.Series) -> str:
    """A row's effect with its interval, such as "0.47 % [0.35 %, 0.58 %]"; "" where there is none."""
    value, low, high = (number(row[name], row["form"]) for name in ("effect", "low", "high"))
    return f"{value} [{low}, {high}]" if low and high else value


def published(row: pd.Series) -> str:
    """What the paper reports of a row: its number, or its words; "" where nothing is known."""
    value = number(row["published"], row["form"])
    return value or ("" if pd.isna(row["published_text"]) else str(row["published_text"]))


def bound(row: pd.Series) -> str:
    """Where the claim has the measure, such as "below 1 %"."""
    gap = "" if row["side"] == "within" else " "
    return f"{SIDES[row['side']]}{gap}{number(row['bound'], row['form'])}"


def who(row: pd.Series) -> str:
    """The model of a row, with the variant that it is judged by: "gpt2, ROME (gap)"; over models, just that."""
    variant = "" if pd.isna(row["variant"]) else str(row["variant"])
    name = "over models" if row["model"] == OVER_MODELS else str(row["model"])
    return f"{name}, {', '.join(editor_words(one) for one in variant.split())}" if variant else name


def say(row: pd.Series) -> str:
    """One line on what a verdict hangs on, from a row of claims.csv, as plain text."""
    if verdict_of(row) == "not asked":
        return f"{row['note']}"
    if pd.isna(row["effect"]):
        return f"{row['part']} cannot be measured: {row['note']}"
    p = row["p_against_holm"] if row["verdict"] == "not supported" else row["p_for_holm"]
    said = f"{row['measure']}: {effect(row)}, claimed {bound(row)}"
    return f"{said} ({row['units']:.0f} {row['unit']}{p_words(p)})"


def p_words(p: float) -> str:
    """A corrected p-value behind a comma; "" for none."""
    if math.isnan(p):
        return ""
    return f", p(Holm) {'< 0.0001' if p < 1e-4 else f'= {p:.2g}'}"
