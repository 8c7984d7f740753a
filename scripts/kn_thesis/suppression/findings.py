"""What the tables of suppression say, in sentences: whichever way it went."""

from __future__ import annotations

import pandas as pd

from kn_thesis.suppression.names import CONTRAST, GROUPS, NUMBERS, expected_sign

FITS = 1e-3  # mean probability from which a word is taken to fit a paradigm's gap


def direction_table(tests: pd.DataFrame, operation: str = "erase") -> pd.DataFrame:
    """Which way each group of words goes under a number's neurons: a row per model, set and word_group.

    From suppression.csv, over the words that fit the gap (probability before of at least `FITS`), each prompt's own
    forms among them. tasks with such neurons, words tested over all of them, mean log_change, and how many go down and
    up as published (p < 0.05 of the unpaired test) and in our sense (beyond chance and random sets).
    """
    rows = tests[(tests["kind"] == "number") & tests["set"].isin(NUMBERS) & (tests["operation"] == operation)]
    rows = rows[rows["p_paired_holm"].notna() & (rows["before"] >= FITS)]
    found = []
    for (model, name, group), part in rows.groupby(["model", "set", "word_group"], sort=False):
        up = part["log_change"] > 0
        found.append(
            {
                "model": model,
                "set": name,
                "word_group": group,
                "tasks": part["task"].nunique(),
                "words": len(part),
                "log_change": part["log_change"].mean(),
                "down_published": int((part["significant_published"] & (part["relative_change"] < 0)).sum()),
                "up_published": int((part["significant_published"] & (part["relative_change"] > 0)).sum()),
                "down": int((part["significant"] & ~up).sum()),
                "up": int((part["significant"] & up).sum()),
            }
        )
    columns = ["model", "set", "word_group", "tasks", "words", "log_change", "down_published", "up_published"]
    return pd.DataFrame(found, columns=[*columns, "down", "up"])


def say_direction(table: pd.DataFrame) -> str:
    """Claim 5 for one model, from its rows of `direction_table`."""
    parts = []
    for name in NUMBERS:
        rows = table[table["set"] == name].set_index("word_group")
        if rows.empty:
            parts.append(f"no word could be tested under {name} neurons")
            continue
        groups = [group for group in GROUPS if group in rows.index]
        moved = "; ".join(
            f"{group} words {rows.loc[group, 'log_change']:+.2f} nats "
            f"({rows.loc[group, 'down']} of {rows.loc[group, 'words']} down, {rows.loc[group, 'up']} up)"
            for group in groups
        )
        parts.append(f"{name} neurons off: {moved}")
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def say_significance(table: pd.DataFrame) -> str:
    """Where the published test and ours disagree, over the rows of significance.csv."""
    total = table[["words", "both", "published_only", "careful_only", "neither"]].sum()
    if not total["words"]:
        return "No word could be tested both ways."
    return (
        f"Of {total['words']:,} tests, {total['both']:,} are significant both ways and {total['neither']:,} neither "
        f"way; the published test alone calls {total['published_only']:,} significant, ours alone "
        f"{total['careful_only']:,}."
    )


def say_accuracy(accuracy: pd.DataFrame, operation: str = "erase") -> str:
    """Claim 6 over models and paradigms, from accuracy.csv."""
    rows = accuracy[(accuracy["kind"] == "number") & (accuracy["operation"] == operation) & (accuracy["prompts"] > 0)]
    if rows.empty:
        return "No prompt has neurons of its own number."
    n, right, lost, won = (int(rows[name].sum()) for name in ("prompts", "correct_before", "overturned", "restored"))
    worst = rows.loc[rows["change"].idxmin()]
    fall = (
        f"The largest fall is from {worst['accuracy_before']:.1%} to {worst['accuracy_after']:.1%} "
        f"({worst['model']}, {worst['task']})."
        if worst["change"] < 0
        else "Nowhere does accuracy fall."
    )
    return (
        f"Erasing the neurons of a prompt's own number overturns {lost:,} of {right:,} right answers ({n:,} prompts) "
        f"and mends {won:,} wrong ones. {fall}"
    )


def say_company(slopes: pd.DataFrame, operation: str = "erase") -> list[str]:
    """Claim 7, what can be correlated: one sentence per model, from company.csv."""
    lines = []
    for model, rows in slopes[slopes["operation"] == operation].groupby("model", sort=False):
        said = []
        for words in ("all", "without number"):
            for name in (CONTRAST, *NUMBERS):
                part = rows[(rows["set"] == name) & (rows["words"] == words) & rows["p"].notna()]
                if len(part):
                    along = (part["slope"] * expected_sign(operation, name) > 0) & (part["p_holm"] < 0.05)
                    label = "words of every kind" if words == "all" else "words without number"
                    said.append(
                        f"{label}: in {along.sum()} of {len(part)} paradigms the effect ({_label(name)}) follows "
                        "company (Holm-corrected p < 0.05), median slope "
                        f"{part['slope'].median():.3f} nats per unit of log-ratio"
                    )
                    break
        lines.append(f"**{model}**: " + ("; ".join(said) if said else "no effect to regress") + ".")
    return lines


def say_variants(tests: pd.DataFrame, operation: str = "erase") -> list[str]:
    """Claim 7, the experiment: one sentence per family, from variants.csv."""
    lines = []
    for family, rows in tests[tests["operation"] == operation].groupby("family", sort=False):
        for _, row in rows.iterrows():
            if pd.isna(row["p"]):
                lines.append(f"**{family}**, {_label(row['set'])}: {row['note']}.")
                continue
            along = row["slope"] * expected_sign(operation, row["set"]) > 0
            verdict = "follows" if along and row["p_holm"] < 0.05 else "does not follow"
            moved = (
                f"{row['moved']:.0f} of {row['words_changed']:.0f} words move with their company when it is exchanged "
                f"(Wilcoxon p = {row['p_wilcoxon']:.2g})"
                if pd.notna(row["moved"])
                else "no pair of worlds exchanges company"
            )
            lines.append(
                f"**{family}**, {_label(row['set'])}: the effect {verdict} company from world to world, slope "
                f"{row['slope']:.3f} [{row['low']:.3f}, {row['high']:.3f}], Holm-corrected p = {row['p_holm']:.2g}; "
                f"{moved}."
            )
    return lines or [
        "Nothing to compare: one world only, or no paradigm in which models of several worlds have such neurons."
    ]


def _label(name: str) -> str:
    return "plural off less singular off" if name == CONTRAST else f"{name} neurons off"
