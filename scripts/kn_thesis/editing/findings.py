"""What the tables of edits say of the paper's claims, in sentences: whichever way it went."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kn_thesis.editing.expected import AGREES, CLAIMS, CONTRADICTS, NOT_ASKED, OF_KNOWN, OPEN, Claim, judged, verdict
from kn_thesis.editing.names import AGREEMENT_CRITERIA, EDITED
from kn_thesis.editing.rows import POOLED, chosen, editors_of, models_of, of, true
from kn_thesis.editing.words import criterion_words, editor_words, listed, within
from kn_thesis.tracing.names import KIND_WORDS

VERDICTS = {
    AGREES: "As the paper has it",
    CONTRADICTS: "Against the paper",
    OPEN: "Open (no interval, or it includes 50%)",
    NOT_ASKED: "Not asked",
}
FIRST_PAGE = ("reliability", "generality", "symmetry_new", "synonymy")


def say_criteria(editing: pd.DataFrame) -> list[str]:
    """Claims 8 to 10, a line per model and claim, and what becomes of other subjects: from editing.csv."""
    lines = []
    for model in models_of(chosen(editing, kind="relation")):
        claims = [claim for claim in CLAIMS if claim.kind == "relation"]
        lines += [line for claim in claims if (line := _claim_line(editing, model, claim))]
        kept = chosen(editing, model=model, kind="relation", task=POOLED, criterion="locality")
        known = kept[kept["share_known"].notna()] if len(kept) else kept
        if len(known):
            said = [f"{editor_words(name)} {_share(known, name)}" for name in editors_of(known)]
            lines.append(f"**{model}**, other subjects keep the answer that the model knew: {listed(said)}.")
    return lines


def say_agreement(editing: pd.DataFrame) -> list[str]:
    """Claim 11, a line per model: the poster's four rows, and another verb; from editing.csv."""
    models = models_of(chosen(editing, kind="paradigm"))
    claims = [claim for claim in CLAIMS if claim.kind == "paradigm"]
    return [line for model in models for claim in claims if (line := _claim_line(editing, model, claim))]


def _claim_line(editing: pd.DataFrame, model: str, claim: Claim) -> str:
    """What a model's intervals say of a claim; empty when none of the claim's editor's edits was asked for."""
    rows = chosen(editing, model=model, editor=claim.editor, kind=claim.kind, task=POOLED)
    if not len(rows):
        return ""
    found: dict[str, list[str]] = {name: [] for name in VERDICTS}
    for criterion, most in claim.most.items():
        part = chosen(rows, criterion=criterion)
        share, low, high = judged(part.iloc[0]) if len(part) else (float("nan"),) * 3
        said = criterion_words(criterion)
        if pd.notna(share):
            of_known = " of what the model knew" if criterion in OF_KNOWN else ""
            said += f" {within(share, low, high)}{of_known}"
        found[verdict(share, low, high, most)].append(said)
    said = ". ".join(f"{VERDICTS[name]}: {'; '.join(parts)}" for name, parts in found.items() if parts)
    return f"**{model}**, claim {claim.number} ({claim.says}). {said}."


def _share(rows: pd.DataFrame, editor: str) -> str:
    """The share that counts, with its interval, of an editor's one row."""
    return within(*judged(chosen(rows, editor=editor).iloc[0]))


def poster_table(editing: pd.DataFrame) -> pd.DataFrame:
    """Agreement edits as on the poster: a row per model and editor, a column per criterion, tasks taken together.

    Cells: the share of edits with its interval. The first row holds what is published where the table has it.
    """
    rows = chosen(editing, kind="paradigm", task=POOLED)
    head = [criterion_words(criterion) for criterion in AGREEMENT_CRITERIA]
    found = []
    for model in models_of(rows):
        part = chosen(rows, model=model)
        for editor in editors_of(part):
            cells = chosen(part, editor=editor).drop_duplicates("criterion").set_index("criterion")
            found.append([model, editor_words(editor), *(_cell(cells, criterion) for criterion in AGREEMENT_CRITERIA)])
    if len(rows) and rows["published"].notna().any():
        texts = rows[rows["published"].notna()].drop_duplicates("criterion").set_index("criterion")["published"]
        found.insert(0, ["published", "ROME", *(texts.get(criterion, "") for criterion in AGREEMENT_CRITERIA)])
    return pd.DataFrame(found, columns=["model", "editor", *head])


def _cell(rows: pd.DataFrame, criterion: str) -> str:
    if criterion not in rows.index or pd.isna(rows.loc[criterion, "share"]):
        return ""
    return within(*rows.loc[criterion, ["share", "low", "high"]])


def by_task(editing: pd.DataFrame, kind: str, criteria: Sequence[str]) -> pd.DataFrame:
    """Shares of edits task by task: a row per model, editor and task, a column per criterion, from editing.csv."""
    rows = chosen(editing, kind=kind)
    rows = rows[rows["task"] != POOLED] if len(rows) else rows
    key = ["model", "editor", "task"]
    if not len(rows):
        return pd.DataFrame(columns=[*key, "edits", *criteria])
    wide = rows.set_index([*key, "criterion"])["share"].unstack().reindex(columns=list(criteria))
    order = rows.groupby(key, sort=False)["edits"].max()
    return wide.reindex(order.index).assign(edits=order)[["edits", *criteria]].reset_index()


def say_tests(tests: pd.DataFrame) -> list[str]:
    """How many comparisons of two criteria differ after Holm's correction, and which: a line per model.

    From editing_tests.csv.
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
        said = "; ".join(
            f"{editor_words(row['editor'])}, {KIND_WORDS.get(row['kind'], row['kind'])}: "
            f"{criterion_words(row['first'])} without {criterion_words(row['second'])} in {row['first_only']:.0f} of "
            f"{row['edits']:.0f} edits, the reverse in {row['second_only']:.0f} (p = {row['p_holm']:.2g})"
            for _, row in apart.iterrows()
        )
        count = f"**{model}**: {len(apart)} of {len(tested)} comparisons differ after Holm's correction{without}"
        lines.append(f"{count}: {said}." if said else f"{count}.")
    return lines


def say_skipped(skipped: pd.DataFrame) -> list[str]:
    """How many requests were edited and why others were not: a line per model and editor, from editing_skipped.csv."""
    lines = []
    for model in models_of(skipped):
        for editor in editors_of(chosen(skipped, model=model)):
            rows = chosen(skipped, model=model, editor=editor)
            counts = rows.groupby("status", sort=False)["edits"].sum()
            others = counts.drop(EDITED, errors="ignore").sort_values(ascending=False, kind="stable")
            why = "; ".join(f"{reason}: {count:,}" for reason, count in others.items() if count)
            lines.append(
                f"**{model}**, {editor_words(editor)}: {counts.get(EDITED, 0):,} of {counts.sum():,} requests are "
                f"edited" + (f" (of the others, {why})." if why else ".")
            )
    return lines or ["Nothing was edited."]


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


def first_page_sentence(editing: pd.DataFrame, tests: pd.DataFrame) -> str:
    """One sentence for the report's first page, from editing.csv and editing_tests.csv."""
    rows = chosen(editing, editor="rome", kind="relation", task=POOLED)
    rows = rows[rows["share"].notna()] if len(rows) else rows
    if not len(rows):
        return "No fact was edited with ROME."
    said = []
    for criterion in FIRST_PAGE:
        part = chosen(rows, criterion=criterion)
        if len(part):
            shares = [
                f"{_cell(chosen(part, model=model).set_index('criterion'), criterion)} ({model})"
                for model in of(part, "model")
            ]
            said.append(f"{criterion_words(criterion)} in {listed(shares)}")
    tested = tests[tests["p_holm"].notna()] if len(tests) else tests
    counts = f"; {int(true(tested['differs']).sum())} of {len(tested)} comparisons of criteria" if len(tested) else ""
    end = f"{counts}, of every editor, differ after Holm's correction." if counts else "."
    return f"Facts edited with ROME meet {'; '.join(said)} of edits{end}"
