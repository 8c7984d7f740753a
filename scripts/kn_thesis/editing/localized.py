"""What the tables say of where to edit and of what training stated, in sentences: whichever way it went."""

from __future__ import annotations

import pandas as pd

from kn_thesis.editing.expected import HALF
from kn_thesis.editing.rows import POOLED, chosen, editors_of, models_of, of, peak, true
from kn_thesis.editing.words import criterion_words, editor_words, within
from kn_thesis.tracing.names import RESTORED_WORDS

PEAKS = {"mlp": "trace_mlp", "hidden": "trace_hidden"}  # what was restored, and its column in editing_layers.csv


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
        return "No task has both edits of every layer and traces beside them: whether tracing tells where to edit stays open."
    informs = int(true(tested["informs"]).sum())
    most = f"at most {tested['gain'].max():+.3f} of R²"
    counts = (
        f"{informs} of {len(tested)} tasks in {tested['model'].nunique()} model{'s' * (tested['model'].nunique() > 1)}"
    )
    if not informs:
        return (
            f"A fact's own trace adds nothing that can be told from chance to what the layer alone says of an edit "
            f"({counts}, {most}): as Hase et al. (2023) reported, localisation does not tell where to edit."
        )
    return (
        f"A fact's own trace adds to what the layer alone says of an edit in {counts} (Holm-corrected), by {most}; "
        "Hase et al. (2023) reported that it adds next to nothing."
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
        f"{RESTORED_WORDS[kind]} do most in layer {layer}, {'the same' if layer == best else 'another one'}"
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
        text += (
            f" The layer alone explains {tested['r2_layer'].min():.2f} to {tested['r2_layer'].max():.2f} of the "
            f"variance of P(new) (R² by task); the fact's own trace adds {tested['gain'].min():.3f} to "
            f"{tested['gain'].max():.3f} and counts in {int(true(tested['informs']).sum())} of {len(tested)} tasks."
        )
    return text


def pooled_pairs(directions: pd.DataFrame) -> pd.DataFrame:
    """Rows of editing_directions.csv to be shown: an editor's tasks taken together where they were, else each task."""
    if not len(directions):
        return directions
    key = ["family", "both", "one_way", "editor"]
    has = (directions["task"] == POOLED).groupby([directions[name] for name in key]).transform("any")
    return directions[(directions["task"] == POOLED) | ~has]


def say_directions(directions: pd.DataFrame) -> list[str]:
    """Symmetry where training states both directions, against one: a line per pair of models, editor and task."""
    lines = []
    rows = pooled_pairs(directions)
    for both, one_way in dict.fromkeys(zip(rows["both"], rows["one_way"], strict=True)) if len(rows) else ():
        pair = chosen(rows, both=both, one_way=one_way)
        for editor in editors_of(pair):
            for task in of(chosen(pair, editor=editor), "task"):
                part = chosen(pair, editor=editor, task=task).drop_duplicates("criterion").set_index("criterion")
                asked = [name for name in ("symmetry_new", "symmetry_old") if name in part.index]
                said = [text for name in asked if (text := _direction(part.loc[name], name))]
                if said:
                    where = "" if task == POOLED else f", {task}"
                    lines.append(f"**{both}** against **{one_way}**, {editor_words(editor)}{where}: {'; '.join(said)}.")
    return lines or ["Nothing to compare: no two models of one family whose worlds state both directions and one."]


def _direction(row: pd.Series, criterion: str) -> str:
    if pd.isna(row["share_both"]) or pd.isna(row["share_one_way"]):
        return ""
    shares = (
        f"{criterion_words(criterion)} is met in {within(row['share_both'], row['low_both'], row['high_both'])} of "
        f"{row['facts']:.0f} facts where training states both directions, and in "
        f"{within(row['share_one_way'], row['low_one_way'], row['high_one_way'])} where it states one"
    )
    if pd.isna(row["p_holm"]):
        test = "not tested"
    else:
        differs = "they differ" if str(row["differs"]) == "True" else "no difference that can be told from chance"
        test = f"{differs}, Holm-corrected p = {row['p_holm']:.2g}"
    if row["high_both"] < HALF:
        story = "; most edits fail it although training stated both directions"
    elif row["low_both"] > HALF:
        story = "; most edits meet it where training stated both directions"
    else:
        story = ""
    return f"{shares} ({test}{story})"
