"""What the tables say of where to edit and of what training stated, in sentences: whichever way it went."""

from __future__ import annotations

import pandas as pd

from kn_thesis.editing.rows import POOLED, chosen, editors_of, models_of, of, peak, true
from kn_thesis.editing.words import criterion_words, editor_words, listed, span, within
from kn_thesis.tracing.names import RESTORED_WORDS

PEAKS = {"mlp": "trace_mlp", "hidden": "trace_hidden"}  # what was restored, and its column in editing_layers.csv
SYMMETRIES = ("symmetry_new", "symmetry_old")
HALF = 0.5  # above it most edits meet a criterion, below it few
FEWEST_FACTS = 10  # that a task needs for a panel and a sentence: of fewer, an interval tells next to nothing


def say_layers(layers: pd.DataFrame, localization: pd.DataFrame) -> list[str]:
    """Whether tracing tells the best layer to edit (Hase et al. 2023): from editing_layers.csv and
    editing_localization.csv; a line over all models first.
    """
    lines = [say_localization(localization)]
    for model in dict.fromkeys([*models_of(layers), *models_of(localization)]):
        said = [_best(chosen(layers, model=model, kind="relation", task=POOLED))]
        said += [_by_task(chosen(localization, model=model), chosen(layers, model=model))]
        said = [part for part in said if part]
        if said:
            lines.append(f"**{model}**: {' '.join(said)}")
    return lines


def say_localization(localization: pd.DataFrame) -> str:
    """Over all models: do a fact's traces add to what the layer alone tells of an edit?"""
    tested = localization[localization["p_holm"].notna()] if len(localization) else localization
    if not len(tested):
        return "Nothing could be tested: whether causal tracing tells where to edit stays open."
    informs, models = int(true(tested["informs"]).sum()), tested["model"].nunique()
    counts = f"{informs} of {len(tested)} tasks of {models} model{'s' if models > 1 else ''}"
    most = f"at most {tested['gain'].max():.3f} of R²"
    if not informs:
        return (
            "What a fact's own trace adds to the layer alone, when P(new) after its edit is to be told, can nowhere be "
            f"told from chance ({counts}; {most}), as Hase et al. (2023) reported; with "
            f"{span(tested['facts'].astype(int), 'd')} facts a task, only a strong relation would show. Whether the "
            "layer where traces peak is the best to edit is another question: see each model."
        )
    return (
        "A fact's own trace adds to what the layer alone tells of P(new) after its edit in "
        f"{counts} (Holm-corrected; {most}); Hase et al. (2023) reported that it adds next to nothing."
    )


def _best(rows: pd.DataFrame) -> str:
    """The best layer to edit, relations taken together, and where their traces peak."""
    reliable = chosen(rows, criterion="reliability")
    best = peak(reliable, "p_after")
    if best is None:
        return ""
    row = reliable[reliable["layer"] == best].iloc[0]
    said = (
        f"Of layers {reliable['layer'].min()} to {reliable['layer'].max()}, relations taken together, layer {best} is "
        f"the best to edit (P(new) {row['p_after']:.2f}, reliability {within(row['held'], row['low'], row['high'])})."
    )
    traced = {kind: peak(reliable, column) for kind, column in PEAKS.items()}
    places = [
        f"{RESTORED_WORDS[kind]} do most in layer {layer} ({'the same' if layer == best else 'another'})"
        for kind, layer in traced.items()
        if layer is not None
    ]
    return f"{said} Restored at the cue's last token, {'; '.join(places)}." if places else f"{said} It was not traced."


def _by_task(localization: pd.DataFrame, layers: pd.DataFrame) -> str:
    """In how many tasks the peak is the best layer, beside what a layer picked blindly would reach."""
    said = []
    count = int(layers["layer"].nunique()) if len(layers) else 0
    for kind in PEAKS:
        known = localization[localization[f"peak_{kind}"].notna()] if len(localization) else localization
        if len(known):
            agrees = int(true(known[f"agrees_{kind}"]).sum())
            blind = f" (any layer, picked blindly: 1 in {count})" if count and not said else ""
            said.append(f"where {RESTORED_WORDS[kind]} do most in {agrees} of {len(known)}{blind}")
    if not said:
        return ""
    text = f"Task by task, the best layer is {' and '.join(said)}."
    tested = localization[localization["p_holm"].notna()]
    if len(tested):
        informs = int(true(tested["informs"]).sum())
        text += (
            f" The layer alone explains {span(tested['r2_layer'], '.2f')} of the variance of P(new) (R² by task); the "
            f"fact's own trace adds {span(tested['gain'], '.3f')} and counts in {informs} of {len(tested)} tasks."
        )
    return text


def with_inverse(directions: pd.DataFrame) -> pd.DataFrame:
    """Rows of the tasks of editing_directions.csv that have an inverse, so that a symmetry can be asked."""
    if not len(directions):
        return directions
    asked = directions["criterion"].isin(SYMMETRIES) & (directions["facts"] > 0)
    key = [directions[name] for name in ("both", "one_way", "editor", "task")]
    return directions[asked.groupby(key).transform("any")]


def enough(directions: pd.DataFrame, few: bool = False) -> pd.DataFrame:
    """Rows of the tasks that have an inverse and at least FEWEST_FACTS facts to compare; with `few`, of the others.

    A model that never learned a relation leaves next to no fact of it that both models know.
    """
    rows = with_inverse(directions)
    if not len(rows):
        return rows
    most = rows.groupby(["both", "one_way", "task"])["facts"].transform("max")
    return rows[(most < FEWEST_FACTS) == few]


def say_directions(directions: pd.DataFrame) -> list[str]:
    """Symmetry where training states both directions, against one: a line per pair of models and task, from
    editing_directions.csv; then what was left out for want of facts.
    """
    lines = []
    rows, few = enough(directions), enough(directions, few=True)
    for both, one_way in dict.fromkeys(zip(rows["both"], rows["one_way"], strict=True)) if len(rows) else ():
        pair = chosen(rows, both=both, one_way=one_way)
        for task in of(pair, "task"):
            part = chosen(pair, task=task)
            part = part[part["facts"] > 0]
            asked = [name for name in (*SYMMETRIES, "reliability") if name in set(part["criterion"])]
            said = "; ".join(f"{criterion_words(name)}: {_direction(chosen(part, criterion=name))}" for name in asked)
            facts = f"{span(part['facts'], '.0f')} facts"
            lines.append(f"**{both}** against **{one_way}**, {task}, {facts}. {said}. {_story(part)}")
    if len(few):
        most = few.groupby("task", sort=False)["facts"].max()
        left = listed([f"{task}, {facts:.0f} fact{'s' * (facts != 1)}" for task, facts in most.items()])
        lines.append(f"Left out, with fewer than {FEWEST_FACTS} facts to compare: {left}.")
    return lines or ["Nothing to compare: no two models of one family whose worlds state both directions and one."]


def _direction(rows: pd.DataFrame) -> str:
    """One criterion in both models, editor by editor; those of which the same is said are named together."""
    alike: dict[str, list[str]] = {}
    for editor in editors_of(rows):
        row = chosen(rows, editor=editor).iloc[0]
        test = f" (they differ, p = {row['p_holm']:.2g})" if str(row["differs"]) == "True" else ""
        said = f"{row['share_both']:.0%} against {row['share_one_way']:.0%}{test}"
        alike.setdefault(said, []).append(editor)
    return ", ".join(f"{_who(names, rows)} {said}" for said, names in alike.items())


def _who(editors: list[str], rows: pd.DataFrame) -> str:
    """Editors by name, or all of those that the rows are of."""
    everyone = len(editors) > 1 and len(editors) == rows["editor"].nunique()
    return "every editor" if everyone else listed([editor_words(name) for name in editors])


def _story(rows: pd.DataFrame) -> str:
    """Whether most edits meet the symmetries where training states both directions, and with which editors."""
    said = []
    for criterion in SYMMETRIES:
        part = chosen(rows, criterion=criterion)
        if not len(part):
            continue
        below, above = part["high_both"] < HALF, part["low_both"] > HALF
        kinds = {"most edits fail it": below, "most edits meet it": above, "it stays open": ~(below | above)}
        went = [f"{words} with {_who(editors_of(part[which]), part)}" for words, which in kinds.items() if which.any()]
        said.append(f"{criterion_words(criterion)}: {listed(went)}")
    return f"Where training states both directions, {'; '.join(said)}." if said else ""
