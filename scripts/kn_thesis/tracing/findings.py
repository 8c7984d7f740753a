"""What the tables of tracing say, in sentences: whichever way it went."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kn_thesis.tracing.names import KIND_WORDS, RESTORED_WORDS, SITES, TASK_WORDS, TRACED
from kn_thesis.tracing.rows import averages
from kn_thesis.tracing.written import readable

CONTRASTS = {"early": "early_contrast", "late": "late_contrast"}
COMPARED = {
    "early_contrast": "the early contrast over the total effect",
    "late_contrast": "the late contrast over the total effect",
    "early_share": "the early site's share of what MLPs do",
    "late_share": "the late site's share of what attention does",
}
PLACES = {
    "cue first": "cue's first token",
    "cue middle": "cue's middle",
    "cue last": "cue's last token",
    "first after": "token after the cue",
}


def sites_table(tracing: pd.DataFrame) -> pd.DataFrame:
    """How many tasks show two sites: a row per model and kind of task that is there, facts first.

    From tracing.csv, headline measures. tasks; tested (those with a p-value); two_sites (of the tested); early, late
    (the contrast's interval lies above 0); early_reversed, late_reversed (it lies below 0: what is said of one module
    holds of the other); untested: why the others were not, with how many tasks.
    """
    columns = ["model", "kind", "tasks", "tested", "two_sites", "early", "late", "early_reversed", "late_reversed"]
    rows = []
    for (model, kind), part in _parts(tracing):
        tested = part[part["p_sites"].notna()]
        row = {"model": model, "kind": kind, "tasks": len(part), "tested": len(tested)}
        row["two_sites"] = int(tested["two_sites"].astype(bool).sum())
        for site, contrast in CONTRASTS.items():
            row[site] = int((tested[f"{contrast}_low"] > 0).sum())
            row[f"{site}_reversed"] = int((tested[f"{contrast}_high"] < 0).sum())
        notes = part.loc[part["p_sites"].isna(), "note"].fillna("").replace("", "no test")
        row["untested"] = "; ".join(f"{note} ({count})" for note, count in _counts(notes))
        rows.append(row)
    return pd.DataFrame(rows, columns=[*columns, "untested"])


def say_claim(sites: pd.DataFrame) -> str:
    """Claim 12 over all models, from `sites_table`: is the division in two sites general?"""
    tested, found = int(sites["tested"].sum()), int(sites["two_sites"].sum())
    if not tested:
        return "No task could be tested: whether early and late site can be told apart stays open."
    counts = _told_apart(sites)
    if found == tested:
        return f"Early and late site can be told apart wherever it was tested ({counts}): here the division is general."
    verdict = (
        f"Early and late site can be told apart in {counts}: the division is there, but it is not general."
        if found
        else f"Early and late site can be told apart nowhere ({counts}): here the division is not seen at all."
    )
    early, late = int(sites["early_reversed"].sum()), int(sites["late_reversed"].sum())
    if not early + late:
        return f"{verdict} Nowhere is their order reversed: a test that fails may fail for want of prompts."
    return (
        f"{verdict} Where a test fails it may be for want of prompts, but in {early} of {tested} tests attention does "
        f"more than MLPs at the early site, and in {late} MLPs do more than attention at the late one."
    )


def say_sites(sites: pd.DataFrame) -> list[str]:
    """How many tasks of each kind show two separable sites: a line per model, from `sites_table`."""
    lines = []
    for model, rows in sites.groupby("model", sort=False):
        said = []
        for _, row in rows.iterrows():
            word = KIND_WORDS[row["kind"]]
            if not row["tested"]:
                said.append(f"{word}: nothing could be tested ({row['untested']})")
                continue
            parts = [
                f"{site} contrast above 0 in {row[site]} and below 0 in {row[f'{site}_reversed']}" for site in SITES
            ]
            parts += [f"not tested: {row['untested']}"] if row["untested"] else []
            said.append(
                f"{word}: two sites in {row['two_sites']} of {_tasks(row['tested'], row['kind'])} ({'; '.join(parts)})"
            )
        lines.append(f"**{model}**: {'. '.join(part[0].upper() + part[1:] for part in said)}.")
    return lines


def say_comparison(comparison: pd.DataFrame) -> list[str]:
    """Facts against syntax: a line per model, from tracing_comparison.csv."""
    lines = []
    for model, rows in comparison.groupby("model", sort=False):
        tested = rows[rows["p_holm"].notna()]
        if tested.empty:
            lines.append(f"**{model}**: fewer than 2 tasks of a kind, or nothing that varies: not compared.")
            continue
        apart = tested[tested["differs"].astype(bool)]
        tasks = f"{tested['tasks_facts'].iloc[0]:.0f} against {tested['tasks_syntax'].iloc[0]:.0f} tasks"
        closest = tested.loc[[tested["p_holm"].idxmin()]] if apart.empty else apart
        said = "; ".join(
            f"{COMPARED[row['name']]}, {row['facts']:.2f} in facts and {row['syntax']:.2f} in syntax "
            f"(difference {row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}], "
            f"Holm-corrected p = {row['p_holm']:.2g})"
            for _, row in closest.iterrows()
        )
        verdict = (
            f"facts and syntax cannot be told apart in any of {len(tested)} numbers ({tasks}); closest to it comes"
            if apart.empty
            else f"facts and syntax differ in {len(apart)} of {len(tested)} numbers ({tasks}):"
        )
        lines.append(f"**{model}**: {verdict} {said}.")
    return lines


def peak_table(roles: pd.DataFrame, restored: Sequence[str] = ("mlp", "attention")) -> pd.DataFrame:
    """Where restored modules do most: a row per model, kind of task and kind of state, from tracing_roles.csv.

    Over the tasks of a kind, in its headline measure: over (what was averaged), role, layer (from 0), layers (of the
    model), effect with low and high; expected: whether it is the site's token, and on the site's side of the boundary
    between layers, that Meng et al. name for that module.
    """
    columns = ["model", "kind", "over", "restored", "role", "layer", "layers", "effect", "low", "high", "expected"]
    rows = []
    for model in dict.fromkeys(roles["model"]) if len(roles) else []:
        for kind in KIND_WORDS:
            part, over = averages(roles, model, kind)
            for state in restored:
                effects = part[(part["restored"] == state) & part["effect"].notna()]
                if effects.empty:
                    continue
                most, layers = effects.loc[effects["effect"].idxmax()], int(part["layer"].max()) + 1
                expected = {
                    "mlp": most["role"] == SITES["early"] and not most["upper"],
                    "attention": most["role"] == SITES["late"] and most["upper"],
                }
                row = {"model": model, "kind": kind, "over": over, "restored": state, "layers": layers}
                row |= most[["role", "layer", "effect", "low", "high"]].to_dict()
                rows.append(row | {"expected": bool(expected.get(state, False))})
    return pd.DataFrame(rows, columns=columns)


def say_peaks(peaks: pd.DataFrame) -> list[str]:
    """Where effects peak: a line per model, from `peak_table`."""
    lines = []
    for model, rows in peaks.groupby("model", sort=False):
        said = []
        for kind, part in rows.groupby("kind", sort=False):
            places = ", ".join(
                f"{RESTORED_WORDS[row['restored']]} do most at the {PLACES.get(row['role'], row['role'])} in layer "
                f"{row['layer']} ({row['effect']:+.2f})"
                for _, row in part.iterrows()
            )
            there = int(part["expected"].sum())
            story = "both where" if there == len(part) == 2 else "neither where" if not there else "one of them where"
            said.append(f"in {KIND_WORDS[kind]}, {places}: {story} two sites would have them")
        lines.append(f"**{model}** (layers 0 to {rows['layers'].max() - 1}): {'; '.join(said)}.")
    return lines


def say_traced(skipped: pd.DataFrame) -> list[str]:
    """How many prompts were traced and why others were not: a line per model, from tracing_skipped.csv."""
    lines = []
    for model, rows in skipped.groupby("model", sort=False):
        counts = rows.groupby("status", sort=False)["prompts"].sum()
        others = counts.drop(TRACED, errors="ignore").sort_values(ascending=False, kind="stable")
        why = "; ".join(f"{reason}: {count:,}" for reason, count in others.items())
        lines.append(
            f"**{model}**: {counts.get(TRACED, 0):,} of {counts.sum():,} prompts are traced"
            + (f" (of the others, {why})." if why else ".")
        )
    return lines or ["Nothing was traced."]


def skipped_by_task(skipped: pd.DataFrame) -> pd.DataFrame:
    """Prompts of each model and task, a column for each status, from tracing_skipped.csv."""
    statuses = sorted(dict.fromkeys(skipped["status"]), key=lambda status: status != TRACED)
    key = ["model", "kind", "task"]
    counts = {status: skipped["prompts"].where(skipped["status"] == status, 0) for status in statuses}
    return skipped[key].assign(**counts).groupby(key, sort=False)[statuses].sum().reset_index()


def prompts_table(examples: pd.DataFrame) -> pd.DataFrame:
    """The prompts that are drawn, tokens of the cue starred: a row per model and task, from tracing_examples.csv."""
    tokens = examples.drop_duplicates(["model", "task", "position"])
    tokens = tokens.assign(tokens=tokens["token"].map(readable) + tokens["cue"].map({True: "*", False: ""}))
    key = ["model", "task", "measure", "clean", "corrupted", "prompt"]
    table = tokens.groupby(key, sort=False)["tokens"].agg(" ".join).reset_index()
    return table[["model", "task", "tokens", *key[2:]]]


def _parts(tracing: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Headline rows by model, as they come, and kind, facts first."""
    if not len(tracing):
        return []
    rows = tracing[tracing["headline"].astype(bool)]
    keys = [(model, kind) for model in dict.fromkeys(rows["model"]) for kind in KIND_WORDS]
    parts = [(key, rows[(rows["model"] == key[0]) & (rows["kind"] == key[1])]) for key in keys]
    return [(key, part) for key, part in parts if len(part)]


def _told_apart(sites: pd.DataFrame) -> str:
    """Such as "3 of 12 relations and 1 of 8 paradigms", summed over models; what was not tested is left out."""
    sums = sites.groupby("kind")[["two_sites", "tested"]].sum()
    kinds = [kind for kind in KIND_WORDS if kind in sums.index and sums.loc[kind, "tested"]]
    return " and ".join(f"{sums.loc[kind, 'two_sites']} of {_tasks(sums.loc[kind, 'tested'], kind)}" for kind in kinds)


def _tasks(count: int, kind: str) -> str:
    return f"{count} {TASK_WORDS[kind][int(count != 1)]}"


def _counts(notes: pd.Series) -> list[tuple[str, int]]:
    """Each note and how often it is there, in the order in which they come."""
    return [(note, int((notes == note).sum())) for note in dict.fromkeys(notes)]
