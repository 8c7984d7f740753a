"""Typed form of the configuration's section `tasks.own`: a user's own paradigms and relations, and their files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kn_thesis.configuration.types import Place, Strict, Text

# Snakemake reads {…} as a wildcard.
File = Annotated[Place, Field(pattern=r"^[^\s{}\x00-\x1f\x7f][^{}\x00-\x1f\x7f]*$")]
TASK = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # a file's name ends at its first dot
TaskName = Annotated[Text, Field(pattern=TASK, max_length=100)]


class OwnParadigm(Strict):
    """Minimal pairs in a file of one's own."""

    pairs: File = Field(description="JSON lines in BLiMP's format; a path from the repository's root, or absolute")
    takes: list[Literal["masked", "causal"]] = Field(
        default_factory=lambda: ["masked", "causal"],
        min_length=1,
        description="masked: pairs differ in one word; causal: what comes before it decides (one_prefix_method)",
    )


class OwnRelation(Strict):
    """Facts and their wordings in files of one's own."""

    patterns: File = Field(description="JSON lines in ParaRel's format; a path from the repository's root, or absolute")
    facts: File = Field(description="JSON lines in ParaRel's format (sub_label, obj_label, uuid); a path as above")
    inverse: Text = Field("", description="relation that asks the same from the object's side, and names this one, too")
    synonym: Text = Field("", description="relation that asks the same in other terms (resources/synonyms.csv)")


class OwnTasks(Strict):
    """Tasks of one's own; the study asks those that `tasks.paradigms` and `tasks.relations` name."""

    paradigms: dict[TaskName, OwnParadigm] = Field(default_factory=dict, description="name: file of pairs")
    relations: dict[TaskName, OwnRelation] = Field(
        default_factory=dict, description="name: files of patterns and facts"
    )
