"""Measures of claims 8 to 12: what edits reach, and where causal traces show two sites."""

from __future__ import annotations

import math

from scipy import stats

from kn_thesis.report.claims.estimates import Estimate, missing, share_of
from kn_thesis.report.claims.localized import Tables
from kn_thesis.tracing.names import SITES

# Criteria that a model without any knowledge meets, or cannot meet: judged by the questions it could answer before.
OF_KNOWN = ("symmetry_old", "locality")
POOLED = "all"
BY_CHANCE = 0.05  # of tasks, each with two one-sided tests at 2.5 %, show a site reversed that is not


def criterion(tables: Tables, model: str, fewest: int, kind: str, name: str, editor: str) -> Estimate:
    """Share of one editor's edits that meet a criterion, tasks of a kind taken together; from editing.csv."""
    table = tables["editing"]
    rows = table[(table["model"] == model) & (table["editor"] == editor) & (table["kind"] == kind)]
    rows = rows[(rows["criterion"] == name) & (rows["task"] != POOLED)]
    share, edits = ("share_known", "known_edits") if name in OF_KNOWN else ("share", "edits")
    rows = rows[rows[share].notna() & (rows[edits] > 0)]
    if rows.empty:
        return missing("no edit was asked this")
    if rows[edits].sum() < fewest:
        return missing(f"{rows[edits].sum():.0f} edits: at least {fewest} are needed", int(rows[edits].sum()))
    return share_of(rows[share] * rows[edits], rows[edits], clustered=False)


def two_sites(tables: Tables, model: str, fewest: int) -> Estimate:
    """Share of traced tasks in which early and late site can be told apart; from tracing.csv, headline measures.

    counts: tasks with two sites, tasks where a site is reversed (a contrast's whole interval lies below 0), tasks.
    """
    table = tables["tracing"]
    rows = table[(table["model"] == model) & (table["headline"].astype(str) == "True") & table["p_sites"].notna()]
    if rows.empty:
        return missing("no task could be tested")
    if len(rows) < fewest:
        return missing(f"{len(rows)} tasks tested: at least {fewest} are needed", len(rows))
    there = int((rows["two_sites"].astype(str) == "True").sum())
    reversed_ = int((rows[[f"{site}_contrast_high" for site in SITES]] < 0).any(axis=1).sum())
    return _sites(there, reversed_, len(rows))


def sites_together(estimates: list[Estimate]) -> Estimate:
    """Tasks of several models counted together."""
    known = [one.counts for one in estimates if one.counts]
    if not known:
        return missing("no model has enough tasks that were tested", sum(one.units for one in estimates))
    return _sites(*map(sum, zip(*known, strict=True)))


def sites_evidence(estimate: Estimate) -> tuple[float, float]:
    """One-sided p-values (for, against) that the division is not general.

    For: a general rule falls by its exceptions, so this is the binomial probability that chance alone reverses as many
    tasks. Against: that as many tasks show both sites when no more than half of them have two.
    """
    if not estimate.counts:
        return math.nan, math.nan
    there, reversed_, tasks = estimate.counts
    return float(stats.binom.sf(reversed_ - 1, tasks, BY_CHANCE)), float(stats.binom.sf(there - 1, tasks, 0.5))


def _sites(there: int, reversed_: int, tasks: int) -> Estimate:
    found = share_of([there], [tasks], clustered=False)
    return Estimate(found.value, found.se, found.low, found.high, units=tasks, counts=(there, reversed_, tasks))
