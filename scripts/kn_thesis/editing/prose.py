"""Sentences of the chapter on editing, written from its tables whatever they show.

Verdicts on the paper's claims are written by report.claims.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kn_thesis.editing.labels import (
    POOLED,
    criterion_words,
    editor_words,
    editors_of,
    is_true,
    list_words,
    method_of,
    models_of,
    peak,
    select_rows,
    unique_values,
    value_span,
    with_interval,
)
from kn_thesis.editing.tables import AGREEMENT_CRITERIA, EDITED
from kn_thesis.tracing.prose import KIND_WORDS, RESTORED_WORDS

# Comparisons that the paper is about: the first criterion met without the second.
PAIRS = tuple(
    (first, second)
    for first in ("reliability", "generality")
    for second in ("symmetry_new", "symmetry_old", "synonymy")
)
PEAKS = {"mlp": "trace_mlp", "hidden": "trace_hidden"}  # restored state, and its column in editing_layers.csv
SYMMETRIES = ("symmetry_new", "symmetry_old")
HALF = 0.5  # above it, most edits meet a criterion
MIN_FACTS = 10  # of a task, for a panel and a sentence: with fewer, intervals are too wide to say anything


def say_kept(editing: pd.DataFrame) -> list[str]:
    """Say how many other subjects keep the answer that the model knew: a line per model, from editing.csv."""
    lines = []
    for model in models_of(select_rows(editing, kind="relation")):
        locality = select_rows(editing, model=model, kind="relation", task=POOLED, criterion="locality")
        known = locality[locality["share_known"].notna()] if len(locality) else locality
        if len(known):
            shares = (select_rows(known, editor=name)["share_known"].iloc[0] for name in editors_of(known))
            parts = [f"{editor_words(name)} {share:.0%}" for name, share in zip(editors_of(known), shares, strict=True)]
            lines.append(f"**{model}**, other subjects keep the answer that the model knew: {list_words(parts)}.")
    return lines


def say_reach(editing: pd.DataFrame) -> list[str]:
    """Say whether a variant's agreement edits reach other subjects less than the method's: a line per model.

    Two editors differ when the intervals of the shares of edits that reach another subject do not overlap.

    Args:
        editing: editing.csv.
    """
    lines = []
    for model in models_of(select_rows(editing, kind="paradigm")):
        rows = select_rows(editing, model=model, kind="paradigm", task=POOLED)
        editors = editors_of(rows)
        parts = [
            text
            for name in editors
            if method_of(name) != name and method_of(name) in editors
            if (text := _reach(select_rows(rows, editor=name), select_rows(rows, editor=method_of(name))))
        ]
        if parts:
            lines.append(f"**{model}**: {'; '.join(parts)}.")
    return lines


def _reach(variant: pd.DataFrame, plain: pd.DataFrame) -> str:
    """How far a variant reaches compared with its method; empty when one of them has no such question."""
    both = [select_rows(rows, criterion="other_subject") for rows in (variant, plain)]
    if any(rows.empty or pd.isna(rows["share"].iloc[0]) for rows in both):
        return ""
    one, other = (rows.iloc[0] for rows in both)
    names = [editor_words(row["editor"]) for row in (one, other)]
    if one["high"] < other["low"]:
        comparison = f"stays closer to its own subject than {names[1]}"
    elif one["low"] > other["high"]:
        comparison = f"reaches further beyond its own subject than {names[1]}"
    else:
        comparison = f"cannot be told from {names[1]}"
    shares = " against ".join(with_interval(*row[["share", "low", "high"]]) for row in (one, other))
    reliable = [_cell(rows, "reliability").split(" ")[0] for rows in (variant, plain)]
    edited = f"; the edited prompt {' against '.join(reliable)}" if all(reliable) else ""
    return f"{names[0]} {comparison} (another subject {shares}{edited})"


def poster_table(editing: pd.DataFrame) -> pd.DataFrame:
    """Arrange the agreement edits as on the poster.

    Args:
        editing: editing.csv.

    Returns:
        A row per criterion and a column per model and editor: the share of edits of all tasks, with its interval.
        published: what others reported about the row.
    """
    rows = select_rows(editing, kind="paradigm")
    reported = rows[rows["published"].notna() & (rows["published"] != "")] if len(rows) else rows
    texts = dict(zip(reported["criterion"], reported["published"], strict=True)) if len(reported) else {}
    columns: dict[str, list[str]] = {"criterion": [criterion_words(criterion) for criterion in AGREEMENT_CRITERIA]}
    for model in models_of(rows):
        part = select_rows(rows, model=model, task=POOLED)
        for editor in editors_of(part):
            cells = select_rows(part, editor=editor)
            columns[f"{model}, {editor_words(editor)}"] = [_cell(cells, criterion) for criterion in AGREEMENT_CRITERIA]
    return pd.DataFrame(columns | {"published": [str(texts.get(criterion, "")) for criterion in AGREEMENT_CRITERIA]})


def _cell(rows: pd.DataFrame, criterion: str) -> str:
    """The share of edits that meet a criterion, with its interval; empty where there is no such question."""
    part = select_rows(rows, criterion=criterion)
    known = part[part["share"].notna()] if len(part) else part
    return with_interval(*known.iloc[0][["share", "low", "high"]]) if len(known) else ""


def by_task(editing: pd.DataFrame, kind: str, criteria: Sequence[str]) -> pd.DataFrame:
    """Arrange shares of edits by task.

    Args:
        editing: editing.csv.
        kind: "relation" or "paradigm".
        criteria: columns of the table.

    Returns:
        A row per model, editor and task, with the number of edits and a column per criterion.
    """
    rows = select_rows(editing, kind=kind)
    rows = rows[rows["task"] != POOLED] if len(rows) else rows
    key = ["model", "editor", "task"]
    if not len(rows):
        return pd.DataFrame(columns=[*key, "edits", *criteria])
    wide = rows.set_index([*key, "criterion"])["share"].unstack().reindex(columns=list(criteria))
    order = rows.groupby(key, sort=False)["edits"].max()
    wide = wide.reindex(order.index).assign(edits=order)[["edits", *criteria]]
    return wide.reset_index().rename_axis(columns=None)


def say_tests(tests: pd.DataFrame) -> list[str]:
    """Say how many comparisons of two criteria differ after Holm's correction, and which of PAIRS.

    Args:
        tests: editing_tests.csv.

    Returns:
        A line per model, with a line below it for each pair.
    """
    lines = []
    for model in models_of(tests):
        rows = select_rows(tests, model=model)
        tested = rows[rows["p_holm"].notna()]
        left = len(rows) - len(tested)
        without = f" ({left} could not be tested)" if left else ""
        if tested.empty:
            lines.append(f"**{model}**: no comparison could be tested{without}.")
            continue
        different = tested[is_true(tested["differs"])]
        count = f"**{model}**: {len(different)} of {len(tested)} comparisons differ after Holm's correction{without}."
        pairs = [_pair(different, *pair) for pair in PAIRS]
        lines.append("\n    - ".join([count, *(pair for pair in pairs if pair)]))
    return lines


def _pair(different: pd.DataFrame, first: str, second: str) -> str:
    """The editors whose edits of facts meet one criterion without another, against the reverse; empty without any."""
    rows = select_rows(different, kind="relation", first=first, second=second)
    parts = [
        f"{editor_words(name)} {row['first_only']:.0f} of {row['edits']:.0f} against {row['second_only']:.0f}"
        for name in editors_of(rows)
        for _, row in select_rows(rows, editor=name).iterrows()
    ]
    return f"{criterion_words(first)} without {criterion_words(second)}: {'; '.join(parts)}" if parts else ""


def say_skipped(skipped: pd.DataFrame) -> list[str]:
    """Say how many requests were edited and why others were not: a line per model.

    Editors with the same counts are named together.

    Args:
        skipped: editing_skipped.csv.
    """
    lines = []
    for model in models_of(skipped):
        alike: dict[str, list[str]] = {}
        editors = editors_of(select_rows(skipped, model=model))
        for editor in editors:
            alike.setdefault(_edited(select_rows(skipped, model=model, editor=editor)), []).append(editor_words(editor))
        named = [("every editor" if len(names) == len(editors) > 1 else list_words(names)) for names in alike.values()]
        parts = [f"{names}: {counts}" for names, counts in zip(named, alike, strict=True)]
        lines.append(f"**{model}**, {'; '.join(parts)}.")
    return lines or ["Nothing was edited."]


def _edited(rows: pd.DataFrame) -> str:
    """How many requests of one editor were edited, and why others were not, the most frequent reason first."""
    counts = rows.groupby("status", sort=True)["edits"].sum()
    others = counts.drop(EDITED, errors="ignore").sort_values(ascending=False, kind="stable")
    why = ", ".join(f"{reason}: {count:,}" for reason, count in others.items() if count)
    return f"{counts.get(EDITED, 0):,} of {counts.sum():,} requests are edited" + (f" ({why})" if why else "")


def say_fluency(fluency: pd.DataFrame) -> list[str]:
    """Say what edits do to continuations: a line per model and kind of task, from editing_fluency.csv."""
    lines = []
    rows = select_rows(fluency, task=POOLED)
    for model in models_of(rows):
        for kind in unique_values(select_rows(rows, model=model), "kind"):
            part = select_rows(rows, model=model, kind=kind)
            part = part[part["change"].notna()]
            parts = [_fluency(select_rows(part, editor=editor).iloc[0]) for editor in editors_of(part)]
            if parts:
                lines.append(f"**{model}**, {KIND_WORDS.get(kind, kind)}: {'; '.join(parts)}.")
    return lines or ["No continuation was sampled."]


def _fluency(row: pd.Series) -> str:
    interval = with_interval(row["change"], row["low"], row["high"], "+.2f").replace(" [", " bits [")
    interval += "" if "[" in interval else " bits"
    test = f", p = {row['p']:.2g}" if pd.notna(row["p"]) else ", no test"
    size = f", changing weights by {row['update_share']:.1%} of their norm" if pd.notna(row["update_share"]) else ""
    return (
        f"{editor_words(row['editor'])} takes the entropy from {row['entropy_before']:.2f} to "
        f"{row['entropy_after']:.2f} bits (change {interval}{test}{size})"
    )


def say_layers(layers: pd.DataFrame, localization: pd.DataFrame) -> list[str]:
    """Say whether tracing finds the best layer to edit (Hase et al. 2023): a line over all models, then one per model.

    Args:
        layers: editing_layers.csv.
        localization: editing_localization.csv.
    """
    lines = [say_localization(localization)]
    for model in dict.fromkeys([*models_of(layers), *models_of(localization)]):
        sentences = [
            _best(select_rows(layers, model=model, kind="relation", task=POOLED)),
            _by_task(select_rows(localization, model=model), select_rows(layers, model=model)),
        ]
        if any(sentences):
            lines.append(f"**{model}**: {' '.join(filter(None, sentences))}")
    return lines


def say_localization(localization: pd.DataFrame) -> str:
    """Say over all models whether a fact's traces add to what the layer alone predicts of an edit."""
    tested = localization[localization["p_holm"].notna()] if len(localization) else localization
    if not len(tested):
        return "Nothing could be tested: whether causal tracing tells where to edit stays open."
    informs, models = int(is_true(tested["informs"]).sum()), tested["model"].nunique()
    counts = f"{informs} of {len(tested)} tasks of {models} model{'s' if models > 1 else ''}"
    most = f"at most {tested['gain'].max():.3f} of R²"
    if not informs:
        return (
            "What a fact's own trace adds to the layer alone, when P(new) after its edit is to be told, can nowhere be "
            f"told from chance ({counts}; {most}), as Hase et al. (2023) reported; with "
            f"{value_span(tested['facts'].astype(int), 'd')} facts a task, only a strong relation would show. "
            "Whether the "
            "layer where traces peak is the best to edit is another question: see each model."
        )
    return (
        "A fact's own trace adds to what the layer alone tells of P(new) after its edit in "
        f"{counts} (Holm-corrected; {most}); Hase et al. (2023) reported that it adds next to nothing."
    )


def _best(rows: pd.DataFrame) -> str:
    """The best layer to edit over all relations, and where their traces peak."""
    reliable = select_rows(rows, criterion="reliability")
    best = peak(reliable, "p_after")
    if best is None:
        return ""
    row = reliable[reliable["layer"] == best].iloc[0]
    text = (
        f"Of layers {reliable['layer'].min()} to {reliable['layer'].max()}, relations taken together, layer {best} is "
        f"the best to edit (P(new) {row['p_after']:.2f}, reliability "
        f"{with_interval(row['held'], row['low'], row['high'])})."
    )
    traced = {kind: peak(reliable, column) for kind, column in PEAKS.items()}
    places = [
        f"{RESTORED_WORDS[kind]} do most in layer {layer} ({'the same' if layer == best else 'another'})"
        for kind, layer in traced.items()
        if layer is not None
    ]
    return f"{text} Restored at the cue's last token, {'; '.join(places)}." if places else f"{text} It was not traced."


def _by_task(localization: pd.DataFrame, layers: pd.DataFrame) -> str:
    """In how many tasks the peak is the best layer, compared with a layer picked at random."""
    parts = []
    count = int(layers["layer"].nunique()) if len(layers) else 0
    for kind in PEAKS:
        known = localization[localization[f"peak_{kind}"].notna()] if len(localization) else localization
        if len(known):
            agrees = int(is_true(known[f"agrees_{kind}"]).sum())
            blind = f" (any layer, picked blindly: 1 in {count})" if count and not parts else ""
            parts.append(f"where {RESTORED_WORDS[kind]} do most in {agrees} of {len(known)}{blind}")
    if not parts:
        return ""
    text = f"Task by task, the best layer is {' and '.join(parts)}."
    tested = localization[localization["p_holm"].notna()]
    if len(tested):
        informs = int(is_true(tested["informs"]).sum())
        text += (
            f" The layer alone explains {value_span(tested['r2_layer'], '.2f')} of the variance of P(new) (R² by "
            "task); the "
            f"fact's own trace adds {value_span(tested['gain'], '.3f')} and counts in {informs} of {len(tested)} tasks."
        )
    return text


def with_inverse(directions: pd.DataFrame) -> pd.DataFrame:
    """Select the tasks of editing_directions.csv that have an inverse, and so questions about symmetry."""
    if not len(directions):
        return directions
    symmetric = directions["criterion"].isin(SYMMETRIES) & (directions["facts"] > 0)
    key = [directions[name] for name in ("both", "one_way", "editor", "task")]
    return directions[symmetric.groupby(key).transform("any")]


def enough(directions: pd.DataFrame, few: bool = False) -> pd.DataFrame:
    """Select the tasks that have an inverse and at least MIN_FACTS facts; with `few`, those that have fewer.

    Where one model never learned a relation, there are hardly any facts that both models know.

    Args:
        directions: editing_directions.csv.
        few: whether tasks with too few facts are selected.
    """
    rows = with_inverse(directions)
    if not len(rows):
        return rows
    most = rows.groupby(["both", "one_way", "task"])["facts"].transform("max")
    return rows[(most < MIN_FACTS) == few]


def say_directions(directions: pd.DataFrame) -> list[str]:
    """Compare symmetry where training states both directions and where it states one: a line per pair and task.

    Args:
        directions: editing_directions.csv.

    Returns:
        The lines, then one about tasks that have too few facts.
    """
    lines = []
    rows, few = enough(directions), enough(directions, few=True)
    for both, one_way in dict.fromkeys(zip(rows["both"], rows["one_way"], strict=True)) if len(rows) else ():
        pair = select_rows(rows, both=both, one_way=one_way)
        for task in unique_values(pair, "task"):
            part = select_rows(pair, task=task)
            part = part[part["facts"] > 0]
            criteria = [name for name in (*SYMMETRIES, "reliability") if name in set(part["criterion"])]
            shares = "; ".join(
                f"{criterion_words(name)}: {_direction(select_rows(part, criterion=name))}" for name in criteria
            )
            facts = f"{value_span(part['facts'], '.0f')} facts"
            lines.append(f"**{both}** against **{one_way}**, {task}, {facts}. {shares}. {_verdict(part)}")
    if len(few):
        most = few.groupby("task", sort=False)["facts"].max()
        left = list_words([f"{task}, {facts:.0f} fact{'s' * (facts != 1)}" for task, facts in most.items()])
        lines.append(f"Left out, with fewer than {MIN_FACTS} facts to compare: {left}.")
    return lines or ["Nothing to compare: no two models of one family whose worlds state both directions and one."]


def _direction(rows: pd.DataFrame) -> str:
    """One criterion in both models, by editor; editors with the same text are named together."""
    alike: dict[str, list[str]] = {}
    for editor in editors_of(rows):
        row = select_rows(rows, editor=editor).iloc[0]
        test = f" (they differ, p = {row['p_holm']:.2g})" if str(row["differs"]) == "True" else ""
        text = f"{row['share_both']:.0%} against {row['share_one_way']:.0%}{test}"
        alike.setdefault(text, []).append(editor)
    return ", ".join(f"{_who(names, rows)} {text}" for text, names in alike.items())


def _who(editors: list[str], rows: pd.DataFrame) -> str:
    """The editors by name, or "every editor" where they are all that the rows have."""
    everyone = len(editors) > 1 and len(editors) == rows["editor"].nunique()
    return "every editor" if everyone else list_words([editor_words(name) for name in editors])


def _verdict(rows: pd.DataFrame) -> str:
    """Whether most edits meet the symmetries where training states both directions, and with which editors."""
    parts = []
    for criterion in SYMMETRIES:
        part = select_rows(rows, criterion=criterion)
        if not len(part):
            continue
        below, above = part["high_both"] < HALF, part["low_both"] > HALF
        kinds = {"most edits fail it": below, "most edits meet it": above, "it stays open": ~(below | above)}
        outcomes = [
            f"{words} with {_who(editors_of(part[which]), part)}" for words, which in kinds.items() if which.any()
        ]
        parts.append(f"{criterion_words(criterion)}: {list_words(outcomes)}")
    return f"Where training states both directions, {'; '.join(parts)}." if parts else ""
