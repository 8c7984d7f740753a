"""List what the comparison knows about each table: the key of a row, its measures, and their intervals or counts.

Values are in the units of the tables. Tables that are not listed are matched by all their columns without decimals.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One measured quantity of a row, by the names of its columns; "" stands for a column that the table lacks.

    Attributes:
        name: name of the quantity.
        value: its value; "" where it is the share count / of.
        low: lower end of its interval.
        high: upper end of its interval.
        count: number of successes.
        of: number of trials.
        within: columns that group rows; the number of trials is then the sum of `count` over a group.
        whole: number of trials behind a share. value × whole is a count where it is a whole number and `questions`
            equals `whole`.
        questions: number of questions behind a share.
        signed: whether the quantity can change its sign.
    """

    name: str
    value: str = ""
    low: str = ""
    high: str = ""
    count: str = ""
    of: str = ""
    within: tuple[str, ...] = ()
    whole: str = ""
    questions: str = ""
    signed: bool = False

    @property
    def all_columns(self) -> set[str]:
        """All columns that the measure is read from."""
        return {self.value, self.low, self.high, self.count, self.of, self.whole} - {""}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns without which there is nothing to compare."""
        return (self.value,) if self.value else tuple(filter(None, (self.count, self.of)))


@dataclass(frozen=True)
class TableSpec:
    """What the comparison knows about one table.

    Attributes:
        key: columns that identify a row.
        measures: what was measured.
        flags: columns that hold yes or no, or a verdict.
    """

    key: tuple[str, ...]
    measures: tuple[Measure, ...] = ()
    flags: tuple[str, ...] = ()


def _interval(name: str, signed: bool = False) -> Measure:
    """A measure with its interval in the columns name_low and name_high."""
    return Measure(name, name, f"{name}_low", f"{name}_high", signed=signed)


def _plain(name: str, signed: bool = False) -> Measure:
    """A measure with its interval in the columns low and high."""
    return Measure(name, name, "low", "high", signed=signed)


TABLES: dict[str, TableSpec] = {
    "claims": TableSpec(("claim", "model", "variant"), (_plain("effect", True),), ("verdict",)),
    "claim_parts": TableSpec(("claim", "part", "model", "variant"), (_plain("effect", True),), ("holds",)),
    "models": TableSpec(
        ("model", "task", "split"), (Measure("accuracy", "accuracy", "low", "high", count="correct", of="n"),)
    ),
    "localization": TableSpec(("model", "task"), (_interval("KN"), _interval("tau"), _interval("R2_1"))),
    "layers": TableSpec(
        ("model", "kind", "layer"), (Measure("share", "share", count="neurons", within=("model", "kind")),)
    ),
    "layers_by_task": TableSpec(
        ("model", "task", "layer"), (Measure("share", "share", count="neurons", within=("model", "task")),)
    ),
    "number_neurons": TableSpec(("model", "task")),
    "suppression": TableSpec(
        ("model", "task", "kind", "set", "operation", "word"), (_plain("log_change", True),), ("significant",)
    ),
    "accuracy": TableSpec(
        ("model", "task", "kind", "operation"),
        (
            Measure("before", "accuracy_before", "low_before", "high_before", count="correct_before", of="prompts"),
            Measure("after", "accuracy_after", "low_after", "high_after", count="correct_after", of="prompts"),
            Measure("overturned", count="overturned", of="correct_before"),
        ),
    ),
    "cooccurrence": TableSpec(("model", "task", "operation", "set", "words"), (_plain("slope", True),)),
    "tracing": TableSpec(
        ("model", "task", "measure"),
        (_interval("early_contrast", True), _interval("late_contrast", True)),
        ("two_sites",),
    ),
    "editing": TableSpec(
        ("model", "editor", "kind", "task", "criterion"),
        (Measure("share", "share", "low", "high", whole="edits", questions="questions"),),
    ),
    "corpora": TableSpec(("model", "task", "reason")),
    "examples": TableSpec(("model", "task", "text")),
    "significance": TableSpec(("model", "task", "kind", "set", "operation")),
    "variants": TableSpec(("family", "operation", "set"), (_plain("slope", True),)),
    "variant_effects": TableSpec(("model", "operation", "set", "word")),
    "tracing_roles": TableSpec(
        ("model", "kind", "task", "measure", "restored", "role", "layer", "upper"), (_plain("effect", True),)
    ),
    "tracing_comparison": TableSpec(("model", "name"), (_plain("difference", True),), ("differs",)),
    "tracing_skipped": TableSpec(("model", "task", "status")),
    "tracing_examples": TableSpec(("model", "task", "prompt", "restored", "layer", "position", "measure")),
    "editing_directions": TableSpec(
        ("family", "both", "one_way", "editor", "task", "criterion"),
        (
            Measure("share_both", "share_both", "low_both", "high_both", whole="facts"),
            Measure("share_one_way", "share_one_way", "low_one_way", "high_one_way", whole="facts"),
        ),
        ("differs",),
    ),
    "editing_layers": TableSpec(("model", "task", "layer", "criterion"), (Measure("held", "held", "low", "high"),)),
    "editing_fluency": TableSpec(("model", "editor", "kind", "task"), (_plain("change", True),)),
    "editing_localization": TableSpec(("model", "task"), flags=("agrees_mlp", "agrees_hidden", "informs")),
    "editing_skipped": TableSpec(("model", "editor", "kind", "task", "status")),
    "editing_tests": TableSpec(("model", "editor", "kind", "first", "second"), flags=("differs",)),
    "editing_completions": TableSpec(("model", "editor", "task", "edit", "criterion", "question"), flags=("holds",)),
    "editing_examples": TableSpec(("model", "editor", "example", "prompt"), flags=("known",)),
}
