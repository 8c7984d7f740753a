"""Define the types of a study's configuration: numbers, names, paths, `tasks.shards` and users' own tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from kn_thesis.models.memory import BLOCK, EDITS

Family = Literal["bert", "gpt2", "llama", "roberta", "gptj", "mistral", "qwen2"]
MASKED_FAMILIES = ("bert", "roberta")
TRAINED_FAMILIES = ("bert", "gpt2", "llama")  # families that the workflow itself can train
MAX_COUNT = 10**9  # maximum of every count; a larger number is a mistake


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is not allowed: it must be a number")
    return value


Whole = Annotated[int, Field(strict=True)]  # refuses true and "1"
# YAML reads 2e-3 as text, so texts that are numbers are accepted. NaN and infinity are refused.
Number = Annotated[float, BeforeValidator(_no_truth_value)]
Share = Annotated[Number, Field(ge=0, le=1)]
OpenShare = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[Whole, Field(ge=1, le=MAX_COUNT)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
NAME, PLACE = r"^[A-Za-z0-9][A-Za-z0-9._-]*$", r"^[^\x00-\x1f\x7f]+$"
IN_WORDS = {
    NAME: "letters, digits, '.', '_' and '-', a letter or digit first",
    PLACE: "no line breaks or other control characters",
}
Text = Annotated[str, Field(strict=True)]  # refuses bytes
Name = Annotated[Text, Field(pattern=NAME, max_length=100)]
Word = Annotated[Text, Field(pattern=r"^[^\s\x00-\x1f\x7f]+$", max_length=100)]
Place = Annotated[Text, Field(pattern=PLACE, min_length=1, max_length=4096)]  # a path or an address
# On the hub: owner/name, and a commit, tag or branch. Both become folders of its cache, so no part may be "..".
HUB_ID = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$"
REVISION = r"^[A-Za-z0-9_][A-Za-z0-9_+-]*([./][A-Za-z0-9_+-]+)*$"
HubId = Annotated[Text, Field(pattern=HUB_ID, max_length=200)]
Revision = Annotated[Text, Field(pattern=REVISION, max_length=200)]
# Snakemake would read {…} as a wildcard.
File = Annotated[Place, Field(pattern=r"^[^\s{}\x00-\x1f\x7f][^{}\x00-\x1f\x7f]*$")]
TASK = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # without dots, because file names are read up to their first dot
TaskName = Annotated[Text, Field(pattern=TASK, max_length=100)]


class Strict(BaseModel):
    """A section that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Shards(Strict):
    """Maximum number of prompts per job; larger tasks are split over jobs, except where it is null."""

    attribution: Whole | None = Field(None, ge=BLOCK, description="prompts per job whose neurons are localized")
    suppression: Whole | None = Field(None, ge=BLOCK, description="prompts per job at which neurons are suppressed")
    tracing: Count | None = Field(None, description="prompts per job that are traced")
    editing: Whole | None = Field(None, ge=EDITS, description="edit requests per job")


class OwnParadigm(Strict):
    """Minimal pairs in a user's own file."""

    pairs: File = Field(description="JSON lines in BLiMP's format; a path from the repository's root, or absolute")
    takes: list[Literal["masked", "causal"]] = Field(
        default_factory=lambda: ["masked", "causal"],
        min_length=1,
        description="masked: pairs differ in one word; causal: the text before that word decides (one_prefix_method)",
    )


class OwnRelation(Strict):
    """Facts and paraphrases in a user's own files."""

    patterns: File = Field(description="JSON lines in ParaRel's format; a path from the repository's root, or absolute")
    facts: File = Field(description="JSON lines in ParaRel's format (sub_label, obj_label, uuid); a path as above")
    inverse: Text = Field("", description="relation with subject and object exchanged; it must name this one too")
    synonym: Text = Field("", description="relation that asks the same in other terms (resources/synonyms.csv)")


class OwnTasks(Strict):
    """A user's own tasks; the study asks those that `tasks.paradigms` and `tasks.relations` name."""

    paradigms: dict[TaskName, OwnParadigm] = Field(default_factory=dict, description="name: file of pairs")
    relations: dict[TaskName, OwnRelation] = Field(
        default_factory=dict, description="name: files of patterns and facts"
    )
