"""Typed form of the configuration's section `editing`: which facts, which editors, which questions.

The sections of editors are built from the editors' own settings, which state defaults, bounds and descriptions
(kn_thesis.editing.settings).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal, Union, get_type_hints

from pydantic import Field, create_model, model_validator

from kn_thesis.configuration.types import (
    MAX_COUNT,
    PLACE,
    Count,
    Family,
    File,
    HubId,
    Name,
    Number,
    OpenShare,
    Revision,
    Strict,
    Text,
    Whole,
)
from kn_thesis.editing.editors import EDITORS
from kn_thesis.editing.settings import Editor, Setting

OF_MODELS = "settings of single models, by name, in place of their family's, such as for another depth"
LARGEST = 1e6  # of settings that are not counts
Line = Annotated[Text, Field(pattern=PLACE, max_length=200)]


class Dataset(Strict):
    """A data set that the `datasets` package loads, whose texts covariances are collected over."""

    id: HubId = Field(description="on the Hugging Face hub")
    config: Line | None = Field(None, description="the data set's configuration")
    split: Line = Field("train")
    column: Line = Field("text", description="that holds the texts")
    revision: Revision | None = Field(None, description="commit, tag or branch; null: the newest")


class Covariance(Strict):
    """Second moment of a layer's keys."""

    texts: Literal["training"] | Dataset = Field("training", description="a trained model's own text, or a data set")
    tokens: Count = Field(100_000, description="that are read")


class Contexts(Strict):
    """Texts before the edited prompt, for editors that use them."""

    contexts: list[tuple[Count, Count]] = Field(
        default_factory=lambda: [(5, 10), (10, 10)],
        description="[tokens, texts] that the model writes before the prompt; []: the bare prompt alone",
    )
    beginnings: list[Line] = Field(
        default_factory=lambda: ["The"],
        min_length=1,
        description="of these texts, by turns; the public code has The, Therefore, Because, I, You",
    )


def _section_model(editor: Editor) -> type[Strict]:
    """The section of an editor: its method, its settings by family and by model, and those that all models share."""
    settings = _settings_model(editor)
    entries: dict[str, Any] = {
        "method": (Literal[editor.name], ...),
        "families": (
            dict[Family, settings],
            Field(min_length=1, description="settings, by family; others are left out"),
        ),
        "models": (dict[Name, settings], Field(default_factory=dict, description=OF_MODELS)),
    }
    if editor.uses("covariance"):
        text = "of keys; null: u = k*, as in the published runs"
        entries["covariance"] = (Covariance | None, Field(None, description=text))
    entries |= _entries(editor, "editor")
    return create_model(_class_name(editor), __base__=Strict, __doc__=editor.publication, **entries)


def _settings_model(editor: Editor) -> type[Strict]:
    """An editor's settings for models of one family."""
    base = Contexts if editor.uses("contexts") else Strict
    text = f"{editor.title} in models of one family."
    return create_model(f"{_class_name(editor)}Settings", __base__=base, __doc__=text, **_entries(editor, "family"))


def _entries(editor: Editor, scope: str) -> dict[str, Any]:
    """Type and field of each setting that stands at a place of the configuration."""
    types, defaults = get_type_hints(editor.settings), {one.name: one.default for one in fields(editor.settings)}
    return {
        name: (_bounded(types[name], details), Field(defaults[name], description=details.description))
        for name, details in editor.details().items()
        if details.scope == scope
    }


def _bounded(kind: Any, details: Setting) -> Any:
    """The type of a setting with its bounds; one without an upper bound gets one that no sensible value exceeds."""
    if details.choices:
        return Literal[details.choices]
    if kind not in (int, float):
        return kind
    bounds = {"gt": details.above, "ge": details.minimum, "lt": details.below, "le": details.maximum}
    bounds = {name: bound for name, bound in bounds.items() if bound is not None}
    whole = kind is int
    if bounds.keys().isdisjoint(("gt", "ge")):
        bounds["ge"] = details.lowest(kind)
    if bounds.keys().isdisjoint(("lt", "le")):
        bounds["le"] = MAX_COUNT if whole else LARGEST
    return Annotated[Whole if whole else Number, Field(**bounds)]


def _class_name(editor: Editor) -> str:
    return "".join(part.capitalize() for part in editor.name.split("_"))


AnyEditor = Annotated[Union[tuple(map(_section_model, EDITORS.values()))], Field(discriminator="method")]  # noqa: UP007


class Questions(Strict):
    """Questions to an edited model."""

    each: Count = Field(10, description="most questions per edit and criterion")
    others: Count = Field(10, description="most other subjects, verbs or distractors per edit and criterion")


class Continuations(Strict):
    """Texts that are continued before and after an edit."""

    tokens: Count = Field(20, description="most tokens that are written")
    samples: Count = Field(5, description="drawn per edit, for the entropy")
    top: Count = Field(5, description="most probable tokens that a sample draws from")
    shown: Whole = Field(
        3, ge=0, le=MAX_COUNT, description="edits per model, editor and task whose completions the report shows"
    )


class Sweep(Strict):
    """ROME at every layer, to be set against causal tracing."""

    editor: Name = Field("rome", description="of the editors")
    tasks: list[Text] = Field(default_factory=list, description="of the edited relations; []: no sweep")
    requests: Count = Field(24, description="most per task and layer")
    every: Count = Field(1, description="of the layers")


class Editing(Strict):
    """Models are edited to give another answer, and asked what else changes with it."""

    tasks: list[Text] = Field(default_factory=list, description="of the study's tasks; []: no edits")
    requests: Count | None = Field(None, description="most per task, of what the model knows; null: all")
    editors: dict[Name, AnyEditor] = Field(default_factory=dict, description="method, or method-variant: settings")
    questions: Questions = Field(default_factory=Questions)
    continuations: Continuations = Field(default_factory=Continuations)
    sweep: Sweep = Field(default_factory=Sweep)
    examples: File | None = Field(
        None,
        description="file of example edits, as resources/poster.yaml; a path from the repository's root, or absolute",
    )
    batch_tokens: Whole = Field(4096, ge=64, le=MAX_COUNT, description="rows x tokens that are in memory at once")
    level: OpenShare = Field(0.05, description="of significance")

    @model_validator(mode="after")
    def _named_by_method(self) -> Editing:
        for name, editor in self.editors.items():
            if name != editor.method and not name.startswith(f"{editor.method}-"):
                raise ValueError(f"editor {name!r}: call it {editor.method!r} or '{editor.method}-…', by its method")
        return self

    @model_validator(mode="after")
    def _sweep_has_an_editor(self) -> Editing:
        swept = self.editors.get(self.sweep.editor)
        if self.sweep.tasks and (swept is None or not EDITORS[swept.method].swept):
            methods = " or ".join(editor.name for editor in EDITORS.values() if editor.swept)
            raise ValueError(f"sweep.editor: {self.sweep.editor!r} is none of the editors with method {methods}")
        return self
