"""Put the tables of suppression into sentences, whichever way the results went.

Functions called `say_…` return Markdown for the notebook. `direction_table` is a table that it shows as well.
"""

from __future__ import annotations

import pandas as pd

from kn_thesis.suppression.regression import expected_sign
from kn_thesis.suppression.tables import CONTRAST, GROUPS, NUMBERS, SHARED

FITS = 1e-3  # minimum mean probability for a word to count as fitting a paradigm's blank


def set_words(name: str) -> str:
    """Name what is suppressed: a number's neurons, or the contrast between both numbers."""
    return "plural off less singular off" if name == CONTRAST else f"{name} neurons off"


def direction_table(tests: pd.DataFrame, operation: str = "erase") -> pd.DataFrame:
    """Count which way each group of words moves under a number's neurons.

    Only words that fit the blank count (mean probability before of at least `FITS`), including each prompt's own forms.

    Args:
        tests: suppression.csv.
        operation: The operation to count.

    Returns:
        One row per model, set and word_group: tasks (with such neurons), words (tested, over all tasks), log_change
        (mean, nats), and the number of words that go down and up as published (p < 0.05 of the unpaired test:
        down_published, up_published) and by our test (beyond chance and random sets: down, up).
    """
    rows = tests[(tests["kind"] == "number") & tests["set"].isin(NUMBERS) & (tests["operation"] == operation)]
    rows = rows[rows["p_paired_holm"].notna() & (rows["before"] >= FITS)]
    directions = []
    for (model, name, group), part in rows.groupby(["model", "set", "word_group"], sort=False):
        up = part["log_change"] > 0
        directions.append(
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
    return pd.DataFrame(directions, columns=[*columns, "down", "up"])


def say_directions(table: pd.DataFrame) -> list[str]:
    """State claim 5: one sentence per model, from `direction_table`."""
    return [f"**{model}**: {say_direction(rows)}" for model, rows in table.groupby("model", sort=False)]


def say_direction(table: pd.DataFrame) -> str:
    """State claim 5 for one model, from its rows of `direction_table`."""
    parts = []
    for name in NUMBERS:
        rows = table[table["set"] == name].set_index("word_group")
        if rows.empty:
            parts.append(f"no word could be tested under {name} neurons")
            continue
        groups = [group for group in GROUPS if group in rows.index]
        moves = "; ".join(
            f"{group} words {rows.loc[group, 'log_change']:+.2f} nats "
            f"({rows.loc[group, 'down']} of {rows.loc[group, 'words']} down, {rows.loc[group, 'up']} up)"
            for group in groups
        )
        parts.append(f"{set_words(name)}: {moves}")
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def say_left_out(tests: pd.DataFrame) -> str:
    """State which sets have no neurons and which words cannot be asked, from the notes of suppression.csv."""
    rows = tests.assign(note=tests["note"].fillna("").astype(str))  # a column without any note is read as numbers
    rows = rows[(rows["note"] != "") & ~rows["note"].str.startswith("fewer")]
    notes = rows.groupby(["model", "task", "set", "note"], sort=False).size().rename("rows").reset_index()
    empty = notes[notes["note"].str.startswith("no neuron")].drop(columns="rows").drop_duplicates()
    counts = notes[notes["note"].str.startswith("left out")].groupby(["model", "note"])["rows"].sum()
    words = "; ".join(f"{model}: {count} rows {note}" for (model, note), count in counts.items())
    if not (len(empty) or words):
        return "Every set has neurons, and every word can be asked."
    own = empty[empty["set"] != SHARED]
    where = "; ".join(
        f"{model}, {name} in {', '.join(rows['task'])}"
        for (model, name), rows in own.groupby(["model", "set"], sort=False)
    )
    return (
        f"{len(empty) - len(own)} paradigms have no neuron that both numbers share; {len(own)} sets of a number or a "
        f"target have no neuron at all: {where}. Words that a tokenizer cannot put into the blank: {words or 'none'}."
    )


def say_significance(table: pd.DataFrame) -> str:
    """State where the published test and ours disagree, over the rows of significance.csv."""
    total = table[["words", "both", "published_only", "paired_only", "neither"]].sum()
    if not total["words"]:
        return "No word could be tested both ways."
    return (
        f"Of {total['words']:,} tests, {total['both']:,} are significant both ways and {total['neither']:,} neither "
        f"way; the published test alone calls {total['published_only']:,} significant, ours alone "
        f"{total['paired_only']:,}."
    )


def say_accuracy(accuracy: pd.DataFrame, operation: str = "erase") -> str:
    """State claim 6 over models and paradigms, from accuracy.csv."""
    rows = accuracy[(accuracy["kind"] == "number") & (accuracy["operation"] == operation) & (accuracy["prompts"] > 0)]
    if rows.empty:
        return "No prompt has neurons of its own number."
    n, right, lost, won = (int(rows[name].sum()) for name in ("prompts", "correct_before", "overturned", "restored"))
    worst = rows.loc[rows["change"].idxmin()]
    fall = (
        f"The largest fall is from {worst['accuracy_before']:.1%} to {worst['accuracy_after']:.1%} "
        f"({worst['model']}, {worst['task']})."
        if worst["change"] < 0
        else "Accuracy falls nowhere."
    )
    return (
        f"Erasing the neurons of a prompt's own number overturns {lost:,} of {right:,} right answers ({n:,} prompts) "
        f"and corrects {won:,} wrong ones. {fall}"
    )


def say_cooccurrence(slopes: pd.DataFrame, operation: str = "erase") -> list[str]:
    """State the correlational part of claim 7: one sentence per model, from cooccurrence.csv."""
    lines = []
    for model, rows in slopes[slopes["operation"] == operation].groupby("model", sort=False):
        parts = []
        for words in ("all", "without number"):
            for name in (CONTRAST, *NUMBERS):
                part = rows[(rows["set"] == name) & (rows["words"] == words) & rows["p"].notna()]
                if len(part):
                    along = (part["slope"] * expected_sign(operation, name) > 0) & (part["p_holm"] < 0.05)
                    label = "words of every kind" if words == "all" else "words without number"
                    parts.append(
                        f"{label}: in {along.sum()} of {len(part)} paradigms the effect ({set_words(name)}) follows "
                        "co-occurrence (Holm-corrected p < 0.05), median slope "
                        f"{part['slope'].median():.3f} nats per unit of log-ratio"
                    )
                    break
        lines.append(f"**{model}**: " + ("; ".join(parts) if parts else "no effect to regress") + ".")
    return lines


def say_variants(tests: pd.DataFrame, operation: str = "erase") -> list[str]:
    """State the experimental part of claim 7: one sentence per family and set, from variants.csv."""
    lines = []
    for family, rows in tests[tests["operation"] == operation].groupby("family", sort=False):
        for _, row in rows.iterrows():
            if pd.isna(row["p"]):
                lines.append(f"**{family}**, {set_words(row['set'])}: {row['note']}.")
                continue
            along = row["slope"] * expected_sign(operation, row["set"]) > 0
            verdict = "follows" if along and row["p_holm"] < 0.05 else "does not follow"
            moved = (
                f"{row['moved']:.0f} of {row['words_changed']:.0f} words move with their co-occurrence when it is "
                f"exchanged (Wilcoxon p = {row['p_wilcoxon']:.2g})"
                if pd.notna(row["moved"])
                else "no pair of worlds has co-occurrence exchanged"
            )
            lines.append(
                f"**{family}**, {set_words(row['set'])}: the effect {verdict} co-occurrence from world to world, slope "
                f"{row['slope']:.3f} [{row['low']:.3f}, {row['high']:.3f}], Holm-corrected p = {row['p_holm']:.2g}; "
                f"{moved}."
            )
    return lines or [
        "Nothing to compare: one world only, or no paradigm in which models of several worlds have such neurons."
    ]
