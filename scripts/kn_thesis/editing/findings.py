"""What the tables of edits say, in sentences: whichever way it went. Verdicts on the claims are the report's."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kn_thesis.editing.names import AGREEMENT_CRITERIA, EDITED
from kn_thesis.editing.rows import POOLED, chosen, editors_of, models_of, of, true
from kn_thesis.editing.words import criterion_words, editor_words, listed, method_of, within
from kn_thesis.tracing.names import KIND_WORDS

# Of the comparisons, those that the paper is about: the first criterion met without the second.
TOLD_PAIRS = tuple(
    (first, second)
    for first in ("reliability", "generality")
    for second in ("symmetry_new", "symmetry_old", "synonymy")
)


def say_kept(editing: pd.DataFrame) -> list[str]:
    """What becomes of other subjects, a line per model: shares that keep the answer that the model knew."""
    lines = []
    for model in models_of(chosen(editing, kind="relation")):
        kept = chosen(editing, model=model, kind="relation", task=POOLED, criterion="locality")
        known = kept[kept["share_known"].notna()] if len(kept) else kept
        if len(known):
            shares = (chosen(known, editor=name)["share_known"].iloc[0] for name in editors_of(known))
            said = [f"{editor_words(name)} {share:.0%}" for name, share in zip(editors_of(known), shares, strict=True)]
            lines.append(f"**{model}**, other subjects keep the answer that the model knew: {listed(said)}.")
    return lines


def say_reach(editing: pd.DataFrame) -> list[str]:
    """Whether a variant's agreement edits stay closer to their own subject than the method's: a line per model.

    From editing.csv: told apart by intervals that do not overlap, of the share of edits that reach another subject.
    """
    lines = []
    for model in models_of(chosen(editing, kind="paradigm")):
        rows = chosen(editing, model=model, kind="paradigm", task=POOLED)
        editors = editors_of(rows)
        said = [
            text
            for name in editors
            if method_of(name) != name and method_of(name) in editors
            if (text := _reach(chosen(rows, editor=name), chosen(rows, editor=method_of(name))))
        ]
        if said:
            lines.append(f"**{model}**: {'; '.join(said)}.")
    return lines


def _reach(variant: pd.DataFrame, plain: pd.DataFrame) -> str:
    """How far a variant reaches beside its method; empty when one of them was not asked."""
    there = [chosen(rows, criterion="other_subject") for rows in (variant, plain)]
    if any(rows.empty or pd.isna(rows["share"].iloc[0]) for rows in there):
        return ""
    one, other = (rows.iloc[0] for rows in there)
    names = [editor_words(row["editor"]) for row in (one, other)]
    if one["high"] < other["low"]:
        went = f"stays closer to its own subject than {names[1]}"
    elif one["low"] > other["high"]:
        went = f"reaches further beyond its own subject than {names[1]}"
    else:
        went = f"cannot be told from {names[1]}"
    shares = " against ".join(within(*row[["share", "low", "high"]]) for row in (one, other))
    reliable = [_cell(rows, "reliability").split(" ")[0] for rows in (variant, plain)]
    of = f"; the edited prompt {' against '.join(reliable)}" if all(reliable) else ""
    return f"{names[0]} {went} (another subject {shares}{of})"


def poster_table(editing: pd.DataFrame) -> pd.DataFrame:
    """Agreement edits as on the poster, from editing.csv: a row per criterion, a column per model and editor.

    Cells: the share of edits, tasks taken together, with its interval; published: what others reported of that row.
    """
    rows = chosen(editing, kind="paradigm")
    said = rows[rows["published"].notna() & (rows["published"] != "")] if len(rows) else rows
    texts = dict(zip(said["criterion"], said["published"], strict=True)) if len(said) else {}
    found: dict[str, list[str]] = {"criterion": [criterion_words(criterion) for criterion in AGREEMENT_CRITERIA]}
    for model in models_of(rows):
        part = chosen(rows, model=model, task=POOLED)
        for editor in editors_of(part):
            cells = chosen(part, editor=editor)
            found[f"{model}, {editor_words(editor)}"] = [_cell(cells, criterion) for criterion in AGREEMENT_CRITERIA]
    return pd.DataFrame(found | {"published": [str(texts.get(criterion, "")) for criterion in AGREEMENT_CRITERIA]})


def _cell(rows: pd.DataFrame, criterion: str) -> str:
    """The share of edits that meet a criterion, with its interval; empty where it was not asked."""
    part = chosen(rows, criterion=criterion)
    known = part[part["share"].notna()] if len(part) else part
    return within(*known.iloc[0][["share", "low", "high"]]) if len(known) else ""


def by_task(editing: pd.DataFrame, kind: str, criteria: Sequence[str]) -> pd.DataFrame:
    """Shares of edits task by task: a row per model, editor and task, a column per criterion, from editing.csv."""
    rows = chosen(editing, kind=kind)
    rows = rows[rows["task"] != POOLED] if len(rows) else rows
    key = ["model", "editor", "task"]
    if not len(rows):
        return pd.DataFrame(columns=[*key, "edits", *criteria])
    wide = rows.set_index([*key, "criterion"])["share"].unstack().reindex(columns=list(criteria))
    order = rows.groupby(key, sort=False)["edits"].max()
    wide = wide.reindex(order.index).assign(edits=order)[["edits", *criteria]]
    return wide.reset_index().rename_axis(columns=None)


def say_tests(tests: pd.DataFrame) -> list[str]:
    """How many comparisons of two criteria differ after Holm's correction, and which of TOLD_PAIRS: a line per model,
    below it one per pair; from editing_tests.csv.
    """
    lines = []
    for model in models_of(tests):
        rows = chosen(tests, model=model)
        tested = rows[rows["p_holm"].notna()]
        left = len(rows) - len(tested)
        without = f" ({left} could not be tested)" if left else ""
        if tested.empty:
            lines.append(f"**{model}**: no comparison could be tested{without}.")
            continue
        apart = tested[true(tested["differs"])]
        count = f"**{model}**: {len(apart)} of {len(tested)} comparisons differ after Holm's correction{without}."
        pairs = [_pair(apart, *pair) for pair in TOLD_PAIRS]
        lines.append("\n    - ".join([count, *(pair for pair in pairs if pair)]))
    return lines


def _pair(apart: pd.DataFrame, first: str, second: str) -> str:
    """The editors whose edits of facts meet one criterion without another, against the reverse; empty without any."""
    rows = chosen(apart, kind="relation", first=first, second=second)
    said = [
        f"{editor_words(name)} {row['first_only']:.0f} of {row['edits']:.0f} against {row['second_only']:.0f}"
        for name in editors_of(rows)
        for _, row in chosen(rows, editor=name).iterrows()
    ]
    return f"{criterion_words(first)} without {criterion_words(second)}: {'; '.join(said)}" if said else ""


def say_skipped(skipped: pd.DataFrame) -> list[str]:
    """How many requests were edited and why others were not: a line per model, from editing_skipped.csv.

    Editors whose counts agree are named together.
    """
    lines = []
    for model in models_of(skipped):
        alike: dict[str, list[str]] = {}
        editors = editors_of(chosen(skipped, model=model))
        for editor in editors:
            alike.setdefault(_edited(chosen(skipped, model=model, editor=editor)), []).append(editor_words(editor))
        named = [("every editor" if len(names) == len(editors) > 1 else listed(names)) for names in alike.values()]
        said = [f"{names}: {counts}" for names, counts in zip(named, alike, strict=True)]
        lines.append(f"**{model}**, {'; '.join(said)}.")
    return lines or ["Nothing was edited."]


def _edited(rows: pd.DataFrame) -> str:
    """How many requests of one editor were edited, and why others were not, the most frequent reason first."""
    counts = rows.groupby("status", sort=True)["edits"].sum()
    others = counts.drop(EDITED, errors="ignore").sort_values(ascending=False, kind="stable")
    why = ", ".join(f"{reason}: {count:,}" for reason, count in others.items() if count)
    return f"{counts.get(EDITED, 0):,} of {counts.sum():,} requests are edited" + (f" ({why})" if why else "")


def say_fluency(fluency: pd.DataFrame) -> list[str]:
    """What edits do to free continuations: a line per model and kind of task, from editing_fluency.csv."""
    lines = []
    rows = chosen(fluency, task=POOLED)
    for model in models_of(rows):
        for kind in of(chosen(rows, model=model), "kind"):
            part = chosen(rows, model=model, kind=kind)
            part = part[part["change"].notna()]
            said = [_fluency(chosen(part, editor=editor).iloc[0]) for editor in editors_of(part)]
            if said:
                lines.append(f"**{model}**, {KIND_WORDS.get(kind, kind)}: {'; '.join(said)}.")
    return lines or ["No continuation was sampled."]


def _fluency(row: pd.Series) -> str:
    interval = within(row["change"], row["low"], row["high"], "+.2f").replace(" [", " bits [")
    interval += "" if "[" in interval else " bits"
    test = f", p = {row['p']:.2g}" if pd.notna(row["p"]) else ", no test"
    size = f", changing weights by {row['update_share']:.1%} of their norm" if pd.notna(row["update_share"]) else ""
    return (
        f"{editor_words(row['editor'])} takes the entropy from {row['entropy_before']:.2f} to "
        f"{row['entropy_after']:.2f} bits (change {interval}{test}{size})"
    )
