"""Measures of claims 5 to 7: words of the neurons' number, answers overturned, company."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from kn_thesis.clusters import FEWEST
from kn_thesis.report.claims.estimates import Estimate, combined, mean_of, missing, share_of
from kn_thesis.report.claims.localized import Tables
from kn_thesis.suppression.findings import FITS
from kn_thesis.suppression.names import CONTRAST, NUMBERS, expected_sign

OPERATION = "erase"


def word_change(tables: Tables, model: str, fewest: int, words: str) -> Estimate:
    """Mean change of log-probability of words that fit the gap when a number's neurons are erased, paradigms as units.

    From suppression.csv. words: `own` (of the neurons' number), `other` (of the other one), or `neutral`.
    """
    table = tables["suppression"]
    rows = table[(table["model"] == model) & (table["kind"] == "number") & (table["operation"] == OPERATION)]
    rows = rows[rows["set"].isin(NUMBERS) & (rows["before"] >= FITS) & rows["log_change"].notna()]
    numbered = rows["word_group"].isin(NUMBERS)
    chosen = {
        "own": numbered & (rows["word_group"] == rows["set"]),
        "other": numbered & (rows["word_group"] != rows["set"]),
        "neutral": rows["word_group"] == "neutral",
    }[words]
    changes = rows[chosen].groupby("task", sort=False)["log_change"].mean()
    if changes.empty:
        return missing("no such word fits the gap of a paradigm whose neurons were erased")
    return mean_of(changes, fewest, "paradigm")


def overturned(tables: Tables, model: str, fewest: int) -> Estimate:
    """Share of right answers that are wrong once the neurons of the prompt's number are erased; from accuracy.csv.

    Prompts as trials, paradigms as clusters.
    """
    table = tables["accuracy"]
    rows = table[(table["model"] == model) & (table["kind"] == "number") & (table["operation"] == OPERATION)]
    rows = rows[rows["correct_before"] > 0]
    if rows.empty:
        return missing("no prompt has neurons of its own number")
    if len(rows) < fewest:
        return missing(f"{len(rows)} paradigms with such neurons: at least {fewest} are needed", len(rows))
    return share_of(rows["overturned"], rows["correct_before"], clustered=True)


def company_slope(tables: Tables, model: str, fewest: int) -> Estimate:
    """Effect on words without number per unit of their company's log-ratio, signed so that following it is positive.

    From company.csv: a paradigm's slope over words, that of the contrast of both numbers' neurons where both have any,
    else of one number's; paradigms combined under random effects. Of paradigms in which `FEWEST` such words fit the gap
    (suppression.csv): elsewhere they have no probability worth moving.
    """
    table = tables["company"]
    rows = table[(table["model"] == model) & (table["operation"] == OPERATION) & (table["words"] == "without number")]
    rows = rows[rows["p"].notna() & rows["task"].isin(_with_fitting_words(tables["suppression"], model))]
    slopes = []
    for _, part in rows.groupby("task", sort=False):
        known = part.set_index("set")
        name = next(name for name in (CONTRAST, *NUMBERS) if name in known.index)
        slopes.append(_slope(known.loc[name], expected_sign(OPERATION, name)))
    return combined(slopes) if slopes else missing("no paradigm has a slope: company unknown, or few words fit")


def _with_fitting_words(table: pd.DataFrame, model: str) -> list[str]:
    """The paradigms in whose gap at least FEWEST words without number have some probability, untouched."""
    rows = table[
        (table["model"] == model) & table["word_group"].isin(("biased", "neutral")) & (table["before"] >= FITS)
    ]
    words = rows.groupby("task", sort=False)["word"].nunique()
    return list(words[words >= FEWEST].index)


def changed_company(tables: Tables, model: str, fewest: int) -> Estimate:
    """The same from world to world: company is changed, models are trained anew, words are the units.

    From variants.csv, of the model's family.
    """
    family = tables["models"].loc[tables["models"]["model"] == model, "family"]
    table = tables["variants"]
    rows = table[table["family"].isin(family) & (table["operation"] == OPERATION) & table["p"].notna()]
    known = rows.set_index("set")
    name = next((name for name in (CONTRAST, *NUMBERS) if name in known.index), None)
    if name is None:
        return missing("the study changes no word's company for this family")
    return _slope(known.loc[name], expected_sign(OPERATION, name), words="words")


def _slope(row: pd.Series, sign: int, words: str = "n_words") -> Estimate:
    """A slope from its table's interval, Student's with two degrees of freedom less than there are words."""
    units = int(row[words])
    df = max(units - 2, 1)
    se = (row["high"] - row["low"]) / (2 * stats.t.ppf(0.975, df))
    low, high = sorted(sign * np.array([row["low"], row["high"]], dtype=float))
    return Estimate(float(sign * row["slope"]), float(se), float(low), float(high), units=units, df=df)
