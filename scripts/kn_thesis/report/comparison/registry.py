"""What the comparison knows of each table: the key of a row, its measures, and their intervals or counts.

Units are those of the tables. A table that is not listed is matched by all its columns without decimals.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One measured quantity of a row: its columns' names, "" for one that the table does not have.

    `value` may be "" where `count` of `of` say all; the value is then their share. With `within`, `of` is the sum of
    `count` over rows alike in these columns. `whole` names a number of trials, value × whole being a count wherever
    it is a whole number and `asked` equals `whole`. A signed measure can change its sign.
    """

    name: str
    value: str = ""
    low: str = ""
    high: str = ""
    count: str = ""
    of: str = ""
    within: tuple[str, ...] = ()
    whole: str = ""
    asked: str = ""
    signed: bool = False

    @property
    def all_columns(self) -> set[str]:
        """Every column that the measure is read from."""
        return {self.value, self.low, self.high, self.count, self.of, self.whole} - {""}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns without which there is nothing to compare."""
        return (self.value,) if self.value else tuple(filter(None, (self.count, self.of)))


@dataclass(frozen=True)
class Known:
    """A table: what identifies a row, what was measured, and which yes-or-no (or verdict) columns follow from it."""

    key: tuple[str, ...]
    measures: tuple[Measure, ...] = ()
    flags: tuple[str, ...] = ()


def _interval(name: str, signed: bool = False) -> Measure:
    """A measure whose interval stands in the columns name_low and name_high."""
    return Measure(name, name, f"{name}_low", f"{name}_high", signed=signed)


def _plain(name: str, signed: bool = False) -> Measure:
    """A measure whose interval stands in the columns low and high."""
    return Measure(name, name, "low", "high", signed=signed)


TABLES: dict[str, Known] = {
    "claims": Known(("claim", "model", "variant"), (_plain("effect", True),), ("verdict",)),
    "claim_parts": Known(("claim", "part", "model", "variant"), (_plain("effect", True),), ("holds",)),
    "models": Known(
        ("model", "task", "split"), (Measure("accuracy", "accuracy", "low", "high", count="correct", of="n"),)
    ),
    "localization": Known(("model", "task"), (_interval("KN"), _interval("tau"), _interval("R2_1"))),
    "layers": Known(
        ("model", "kind", "layer"), (Measure("share", "share", count="neurons", within=("model", "kind")),)
    ),
    "layers_by_task": Known(
        ("model", "task", "layer"), (Measure("share", "share", count="neurons", within=("model", "task")),)
    ),
    "number_neurons": Known(("model", "task")),
    "suppression": Known(
        ("model", "task", "kind", "set", "operation", "word"), (_plain("log_change", True),), ("significant",)
    ),
    "accuracy": Known(
        ("model", "task", "kind", "operation"),
        (
            Measure("before", "accuracy_before", "low_before", "high_before", count="correct_before", of="prompts"),
            Measure("after", "accuracy_after", "low_after", "high_after", count="correct_after", of="prompts"),
            Measure("overturned", count="overturned", of="correct_before"),
        ),
    ),
    "company": Known(("model", "task", "operation", "set", "words"), (_plain("slope", True),)),
    "tracing": Known(
        ("model", "task", "measure"),
        (_interval("early_contrast", True), _interval("late_contrast", True)),
        ("two_sites",),
    ),
    "editing": Known(
        ("model", "editor", "kind", "task", "criterion"),
        (Measure("share", "share", "low", "high", whole="edits", asked="questions"),),
    ),
    "corpora": Known(("model", "task", "reason")),
    "examples": Known(("model", "task", "text")),
    "significance": Known(("model", "task", "kind", "set", "operation")),
    "variants": Known(("family", "operation", "set"), (_plain("slope", True),)),
    "variant_effects": Known(("model", "operation", "set", "word")),
    "tracing_roles": Known(
        ("model", "kind", "task", "measure", "restored", "role", "layer", "upper"), (_plain("effect", True),)
    ),
    "tracing_comparison": Known(("model", "name"), (_plain("difference", True),), ("differs",)),
    "tracing_skipped": Known(("model", "task", "status")),
    "tracing_examples": Known(("model", "task", "prompt", "restored", "layer", "position", "measure")),
    "editing_directions": Known(
        ("family", "both", "one_way", "editor", "task", "criterion"),
        (
            Measure("share_both", "share_both", "low_both", "high_both", whole="facts"),
            Measure("share_one_way", "share_one_way", "low_one_way", "high_one_way", whole="facts"),
        ),
        ("differs",),
    ),
    "editing_layers": Known(("model", "task", "layer", "criterion"), (Measure("held", "held", "low", "high"),)),
    "editing_fluency": Known(("model", "editor", "kind", "task"), (_plain("change", True),)),
    "editing_localization": Known(("model", "task"), flags=("agrees_mlp", "agrees_hidden", "informs")),
    "editing_skipped": Known(("model", "editor", "kind", "task", "status")),
    "editing_tests": Known(("model", "editor", "kind", "first", "second"), flags=("differs",)),
    "editing_completions": Known(("model", "editor", "task", "edit", "criterion", "question"), flags=("holds",)),
    "editing_examples": Known(("model", "editor", "example", "prompt"), flags=("known",)),
}
