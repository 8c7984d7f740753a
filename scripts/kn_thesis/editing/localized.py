"""What the tables say of where to edit and of what training stated, in sentences: whichever way it went."""

from __future__ import annotations

import pandas as pd

from kn_thesis.editing.expected import HALF
from kn_thesis.editing.rows import POOLED, chosen, editors_of, models_of, of, peak, true
from kn_thesis.editing.words import criterion_words, editor_words, listed, span, within
from kn_thesis.tracing.names import RESTORED_WORDS

PEAKS = {"mlp": "trace_mlp", "hidden": "trace_hidden"}  # what was restored, and its column in editing_layers.csv
SYMMETRIES = ("symmetry_new", "symmetry_old")


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
            f"told from chance ({counts}; {most}). That is what Hase et al. (2023) reported: tracing does not tell "
            "where to edit."
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


def say_directions(directions: pd.DataFrame) -> list[str]:
    """Symmetry where training states both directions, against one: a line per pair of models, editor and task.

    From editing_directions.csv.
    """
    lines = []
    rows = with_inverse(directions)
    for both, one_way in dict.fromkeys(zip(rows["both"], rows["one_way"], strict=True)) if len(rows) else ():
        pair = chosen(rows, both=both, one_way=one_way)
        for editor in editors_of(pair):
            for task in of(chosen(pair, editor=editor), "task"):
                part = chosen(pair, editor=editor, task=task).drop_duplicates("criterion").set_index("criterion")
                part = part[part["facts"] > 0]
                asked = [name for name in (*SYMMETRIES, "reliability") if name in part.index]
                said = "; ".join(_direction(part.loc[name], name) for name in asked)
                story = _story(part.loc[[name for name in SYMMETRIES if name in asked]])
                lines.append(f"**{both}** against **{one_way}**, {editor_words(editor)}, {task}: {said}. {story}")
    return lines or ["Nothing to compare: no two models of one family whose worlds state both directions and one."]


def _direction(row: pd.Series, criterion: str) -> str:
    """One criterion in both models, with the test of their difference."""
    shares = [within(*row[[f"share_{name}", f"low_{name}", f"high_{name}"]]) for name in ("both", "one_way")]
    test = "not tested"
    if pd.notna(row["p_holm"]):
        test = "they differ" if str(row["differs"]) == "True" else "no difference that can be told from chance"
        test += f", Holm-corrected p = {row['p_holm']:.2g}"
    return f"{criterion_words(criterion)} {shares[0]} against {shares[1]} of {row['facts']:.0f} facts ({test})"


def _story(rows: pd.DataFrame) -> str:
    """Whether most edits meet the symmetries where training states both directions."""
    below, above = rows["high_both"] < HALF, rows["low_both"] > HALF
    kinds = {"most edits fail": below, "most edits meet": above, "it stays open of": ~(below | above)}
    said = [
        f"{words} {listed([criterion_words(name) for name in rows.index[which]])}"
        for words, which in kinds.items()
        if which.any()
    ]
    return f"Where training states both directions, {listed(said)}."
