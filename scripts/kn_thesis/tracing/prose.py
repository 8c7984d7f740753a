"""Words for the tracing chapter: labels, readable tokens, and the sentences that its tables are put into.

Functions called `say_…` return Markdown for the notebook, whichever way the results went. The tables that sentences are
made of are built here as well (`sites_table`, `peak_table`, `skipped_by_task`, `prompts_table`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kn_thesis.tracing.tables import SITES, TRACED, measures_of

KIND_WORDS = {"relation": "facts", "paradigm": "syntax"}
TASK_WORDS = {"relation": ("relation", "relations"), "paradigm": ("paradigm", "paradigms")}
MEASURE_WORDS = {"probability": "P(target)", "preference": "share of target against foil"}
RESTORED_WORDS = {
    "hidden": "hidden states",
    "mlp": "MLP outputs",
    "attention": "attention outputs",
    "severed_mlp": "hidden, MLPs severed",
    "severed_attention": "hidden, attention severed",
}
ROLE_WORDS = {
    "cue first": "cue's first token",
    "cue middle": "cue's middle",
    "cue last": "cue's last token",
    "first after": "token after the cue",
    "gap": "blank",
}
COMPARED = {
    "early_contrast": "the early contrast over the total effect",
    "late_contrast": "the late contrast over the total effect",
    "early_share": "the early site's share of what MLPs do",
    "late_share": "the late site's share of what attention does",
}
SPACE = "␣"  # for a token that is nothing but a space


def rows_of_models(table: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Select the rows of some models. An empty table may have no columns; it is returned as it is."""
    return table[table["model"].isin(models)] if len(table) else table


def averages(roles: pd.DataFrame, model: str, kind: str) -> tuple[pd.DataFrame, str]:
    """Select a model's averages over the tasks of one kind, in the headline measure.

    Args:
        roles: tracing_roles.csv.
        model: The model.
        kind: "relation" or "paradigm".

    Returns:
        The rows, and what they average over, such as "3 relations"; with a single task, its own rows and its name. Both
        are empty if no task of the kind was traced.
    """
    rows = roles[(roles["model"] == model) & (roles["kind"] == kind) & (roles["measure"] == measures_of(kind)[0])]
    tasks = [task for task in dict.fromkeys(rows["task"]) if task != "all"]
    if len(tasks) == 1:
        return rows[rows["task"] == tasks[0]], str(tasks[0])
    return rows[rows["task"] == "all"], f"{len(tasks)} {TASK_WORDS[kind][1]}" if tasks else ""


def sites_table(tracing: pd.DataFrame) -> pd.DataFrame:
    """Count the tasks that show two sites, in their headline measures.

    Args:
        tracing: tracing.csv.

    Returns:
        One row per model and kind of task, facts first: tasks, tested (those with a p-value), two_sites (of these),
        early and late (the contrast's interval lies above 0), early_reversed and late_reversed (it lies below 0, so
        that the roles of the two modules are exchanged), and untested (why the others were not, with counts).
    """
    columns = ["model", "kind", "tasks", "tested", "two_sites", "early", "late", "early_reversed", "late_reversed"]
    rows = []
    for (model, kind), part in _headline_rows(tracing):
        tested = part[part["p_sites"].notna()]
        row = {"model": model, "kind": kind, "tasks": len(part), "tested": len(tested)}
        row["two_sites"] = int(tested["two_sites"].astype(bool).sum())
        for site in SITES:
            row[site] = int((tested[f"{site}_contrast_low"] > 0).sum())
            row[f"{site}_reversed"] = int((tested[f"{site}_contrast_high"] < 0).sum())
        notes = part.loc[part["p_sites"].isna(), "note"].fillna("").replace("", "no test")
        row["untested"] = "; ".join(f"{note} ({count})" for note, count in _counts(notes))
        rows.append(row)
    return pd.DataFrame(rows, columns=[*columns, "untested"])


def say_claim(sites: pd.DataFrame) -> str:
    """State claim 12 over all models, from `sites_table`: is the division into two sites general?"""
    tested, separable = int(sites["tested"].sum()), int(sites["two_sites"].sum())
    if not tested:
        return "No task could be tested, so it remains open whether early and late site can be told apart."
    counts = _told_apart(sites)
    if separable == tested:
        return f"Early and late site can be told apart in every test ({counts}): here the division is general."
    verdict = (
        f"Early and late site can be told apart in {counts}: the division is there, but it is not general."
        if separable
        else f"Early and late site cannot be told apart in any test ({counts}): here the division is not seen at all."
    )
    early, late = int(sites["early_reversed"].sum()), int(sites["late_reversed"].sum())
    if not early + late:
        return f"{verdict} Their order is never reversed; a failed test may be due to too few prompts."
    return (
        f"{verdict} A failed test may be due to too few prompts, but in {early} of {tested} tests attention does more "
        f"than MLPs at the early site, and in {late} MLPs do more than attention at the late one."
    )


def say_sites(sites: pd.DataFrame) -> list[str]:
    """State how many tasks of each kind show two separable sites: a line per model, from `sites_table`."""
    lines = []
    for model, rows in sites.groupby("model", sort=False):
        sentences = []
        for _, row in rows.iterrows():
            word = KIND_WORDS[row["kind"]]
            if not row["tested"]:
                sentences.append(f"{word}: nothing could be tested ({row['untested']})")
                continue
            details = [
                f"{site} contrast above 0 in {row[site]} and below 0 in {row[f'{site}_reversed']}" for site in SITES
            ]
            details += [f"not tested: {row['untested']}"] if row["untested"] else []
            count = f"{row['two_sites']} of {_tasks(row['tested'], row['kind'])}"
            sentences.append(f"{word}: two sites in {count} ({'; '.join(details)})")
        lines.append(f"**{model}**: {'. '.join(part[0].upper() + part[1:] for part in sentences)}.")
    return lines


def say_comparison(comparison: pd.DataFrame) -> list[str]:
    """Compare facts with syntax: a line per model, from tracing_comparison.csv."""
    lines = []
    for model, rows in comparison.groupby("model", sort=False):
        tested = rows[rows["p_holm"].notna()]
        if tested.empty:
            lines.append(f"**{model}**: fewer than 2 tasks of a kind, or nothing that varies: not compared.")
            continue
        apart = tested[tested["differs"].astype(bool)]
        tasks = f"{tested['tasks_facts'].iloc[0]:.0f} against {tested['tasks_syntax'].iloc[0]:.0f} tasks"
        closest = tested.loc[[tested["p_holm"].idxmin()]] if apart.empty else apart
        numbers = "; ".join(
            f"{COMPARED[row['name']]}, {row['facts']:.2f} in facts and {row['syntax']:.2f} in syntax "
            f"(difference {row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}], "
            f"Holm-corrected p = {row['p_holm']:.2g})"
            for _, row in closest.iterrows()
        )
        verdict = (
            f"facts and syntax cannot be told apart in any of {len(tested)} numbers ({tasks}); the closest is"
            if apart.empty
            else f"facts and syntax differ in {len(apart)} of {len(tested)} numbers ({tasks}):"
        )
        lines.append(f"**{model}**: {verdict} {numbers}.")
    return lines


def peak_table(roles: pd.DataFrame, restored: Sequence[str] = ("mlp", "attention")) -> pd.DataFrame:
    """Find where restored modules do most, averaged over the tasks of a kind in its headline measure.

    Args:
        roles: tracing_roles.csv.
        restored: The restored kinds.

    Returns:
        One row per model, kind of task and restored kind: over (what was averaged), role, layer (from 0), layers (of
        the model), effect with low and high, and expected (whether token and half of the layers are those that Meng et
        al. name for that module).
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
                peak, layers = effects.loc[effects["effect"].idxmax()], int(part["layer"].max()) + 1
                expected = {
                    "mlp": peak["role"] == SITES["early"] and not peak["upper"],
                    "attention": peak["role"] == SITES["late"] and peak["upper"],
                }
                row = {"model": model, "kind": kind, "over": over, "restored": state, "layers": layers}
                row |= peak[["role", "layer", "effect", "low", "high"]].to_dict()
                rows.append(row | {"expected": bool(expected.get(state, False))})
    return pd.DataFrame(rows, columns=columns)


def say_peaks(peaks: pd.DataFrame) -> list[str]:
    """State where effects peak: a line per model, from `peak_table`."""
    lines = []
    for model, rows in peaks.groupby("model", sort=False):
        sentences = []
        for kind, part in rows.groupby("kind", sort=False):
            places = ", ".join(
                f"{RESTORED_WORDS[row['restored']]} do most at the {ROLE_WORDS.get(row['role'], row['role'])} in layer "
                f"{row['layer']} ({row['effect']:+.2f})"
                for _, row in part.iterrows()
            )
            count = int(part["expected"].sum())
            story = "both where" if count == len(part) == 2 else "neither where" if not count else "one of them where"
            sentences.append(f"in {KIND_WORDS[kind]}, {places}: {story} two sites would have them")
        lines.append(f"**{model}** (layers 0 to {rows['layers'].max() - 1}): {'; '.join(sentences)}.")
    return lines


def say_traced(skipped: pd.DataFrame) -> list[str]:
    """State how many prompts were traced and why others were not: a line per model, from tracing_skipped.csv."""
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
    """Count the prompts of each model and task, with a column for each status, from tracing_skipped.csv."""
    statuses = sorted(dict.fromkeys(skipped["status"]), key=lambda status: status != TRACED)
    key = ["model", "kind", "task"]
    counts = {status: skipped["prompts"].where(skipped["status"] == status, 0) for status in statuses}
    return skipped[key].assign(**counts).groupby(key, sort=False)[statuses].sum().reset_index()


def prompts_table(examples: pd.DataFrame) -> pd.DataFrame:
    """List the prompts that are drawn, tokens of the cue starred: a row per model and task of tracing_examples.csv."""
    tokens = examples.drop_duplicates(["model", "task", "position"])
    tokens = tokens.assign(tokens=tokens["token"].map(readable_token) + tokens["cue"].map({True: "*", False: ""}))
    key = ["model", "task", "measure", "clean", "corrupted", "prompt"]
    table = tokens.groupby(key, sort=False)["tokens"].agg(" ".join).reset_index()
    return table[["model", "task", "tokens", *key[2:]]]


def readable_token(token: str) -> str:
    """Convert a vocabulary entry to readable text, without the marks for a preceding space ("Ġthe", "▁the").

    Byte-level vocabularies (GPT-2) write each byte as one printable letter, such as "Ã©" for "é"; the bytes are decoded
    if they form whole letters. Other entries ("##ing", "[CLS]") stay as they are.

    Args:
        token: The entry.

    Returns:
        The text; `SPACE` if nothing is left, and visible signs for line breaks and tabs.
    """
    text = _from_bytes(str(token)).replace("▁", " ")
    return text.replace("\n", "⏎").replace("\t", "⇥").strip() or SPACE


def _from_bytes(token: str) -> str:
    """The text of a byte-level token; other tokens are returned without the mark for a space."""
    try:
        return bytes(_BYTES[letter] for letter in token).decode()
    except (KeyError, UnicodeDecodeError):
        return token.replace("Ġ", " ")


def _byte_letters() -> dict[str, int]:
    """Byte of each letter: printable bytes of Latin-1 are themselves, the others follow from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_letters()


def _headline_rows(tracing: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Rows of the headline measures by (model, kind), models in their order and facts first."""
    if not len(tracing):
        return []
    rows = tracing[tracing["headline"].astype(bool)]
    keys = [(model, kind) for model in dict.fromkeys(rows["model"]) for kind in KIND_WORDS]
    parts = [(key, rows[(rows["model"] == key[0]) & (rows["kind"] == key[1])]) for key in keys]
    return [(key, part) for key, part in parts if len(part)]


def _told_apart(sites: pd.DataFrame) -> str:
    """Such as "3 of 12 relations and 1 of 8 paradigms", summed over models, of the tested tasks."""
    sums = sites.groupby("kind")[["two_sites", "tested"]].sum()
    kinds = [kind for kind in KIND_WORDS if kind in sums.index and sums.loc[kind, "tested"]]
    return " and ".join(f"{sums.loc[kind, 'two_sites']} of {_tasks(sums.loc[kind, 'tested'], kind)}" for kind in kinds)


def _tasks(count: int, kind: str) -> str:
    return f"{count} {TASK_WORDS[kind][int(count != 1)]}"


def _counts(notes: pd.Series) -> list[tuple[str, int]]:
    """Each note and its count, in order of appearance."""
    return [(note, int((notes == note).sum())) for note in dict.fromkeys(notes)]
