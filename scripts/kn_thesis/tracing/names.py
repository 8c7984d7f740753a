"""Names that the chapter's tables, figures and sentences share."""

from __future__ import annotations

from typing import NamedTuple


class Columns(NamedTuple):
    """Where the tables of results.Tracing have a measure."""

    effect: str
    clean: str
    corrupted: str


# The status of a prompt: that it is traced, or why not.
TRACED = "traced"
WRONG = "the model does not answer right"
NO_CUE = "nothing is known of its cue"
NO_TOKEN = "the cue has no token of its own"
NOT_SAMPLED = "more than the study asks"
TOO_LONG = "longer than the model's positions"

SITES = {"early": "cue last", "late": "gap"}  # the roles of the tokens at which the two sites are looked for
# The columns of a measure: its indirect effect, and its value in the clean run and the corrupted ones. A preference is
# P(target) / (P(target) + P(foil)), to which other words that might stand in the gap are nothing.
MEASURES = {
    "probability": Columns("effect", "clean", "corrupted"),
    "preference": Columns("preference_effect", "clean_preference", "corrupted_preference"),
}
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


def measures_of(kind: str) -> list[str]:
    """The measures of a task of this kind, the one that is reported first: agreement is a preference."""
    return ["preference", "probability"] if kind == "paradigm" else ["probability"]
