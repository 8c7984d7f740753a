"""Typed form of the configuration's section `editing`: which facts, which editors, and what edits are asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kn_thesis.configuration.own_tasks import File
from kn_thesis.configuration.types import (
    MOST,
    PLACE,
    Count,
    Family,
    HubId,
    Name,
    Number,
    OpenShare,
    Revision,
    Share,
    Strict,
    Text,
    Whole,
)

Layer = Annotated[Whole, Field(ge=0, lt=1000)]
Rate = Annotated[Number, Field(gt=0, le=10)]
Factor = Annotated[Number, Field(ge=0, le=1e6)]
OF_MODELS = "settings of single models, by name, in place of their family's: of another depth, say"
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


class RomeSettings(Strict):
    """ROME in models of one family."""

    layer: Layer = Field(17, description="whose value matrix is edited, from 0")
    token: Literal["subject_last", "last"] = Field(
        "subject_last", description="where key and value are read: the subject's last token, or the prompt's"
    )
    steps: Count = Field(20, description="of the optimiser of v*")
    learning_rate: Rate = Field(0.5, description="Adam's")
    weight_decay: Factor = Field(0.5, description="of the change, relative to the value's squared norm")
    clamp: Factor = Field(4.0, description="longest change, in norms of the value")
    kl: Factor = Field(0.0625, description="factor of the change of what follows '{subject} is a'")
    stop: Factor = Field(0.05, description="loss (nats) at which the optimiser stops")
    contexts: list[tuple[Count, Count]] = Field(
        default_factory=lambda: [(5, 10), (10, 10)],
        description="[tokens, texts] that the model writes before the prompt; []: the bare prompt alone",
    )
    beginnings: list[Line] = Field(
        default_factory=lambda: ["The"],
        min_length=1,
        description="of these texts, by turns; the public code has The, Therefore, Because, I, You",
    )


class Rome(Strict):
    """Meng et al. (2022)."""

    method: Literal["rome"]
    families: dict[Family, RomeSettings] = Field(min_length=1, description="settings, by family; others are left out")
    models: dict[Name, RomeSettings] = Field(default_factory=dict, description=OF_MODELS)
    covariance: Covariance | None = Field(None, description="of keys; null: u = k*, as in the published runs")


class KnowledgeNeuronSettings(Strict):
    """The knowledge-neuron edit in models of one family."""

    old: Factor = Field(1.0, description="λ₁, of the old answer's embedding, taken off")
    new: Factor = Field(8.0, description="λ₂, of the new answer's embedding, put on")
    shared: Share = Field(0.1, description="largest share of the other facts that a neuron may belong to")


class KnowledgeNeuron(Strict):
    """Dai et al. (2022)."""

    method: Literal["knowledge_neuron"]
    families: dict[Family, KnowledgeNeuronSettings] = Field(min_length=1, description="settings, by family")
    models: dict[Name, KnowledgeNeuronSettings] = Field(default_factory=dict, description=OF_MODELS)
    paraphrases: Count = Field(10, description="most prompts of a fact in which its neurons are looked for")
    nodes: Count = Field(10, description="of the quadrature of their attribution")


class FineTuningSettings(Strict):
    """Constrained fine-tuning in models of one family."""

    layer: Layer = Field(17, description="whose value matrix is trained, from 0")
    steps: Count = Field(25, description="of the optimiser")
    learning_rate: Rate = Field(5e-4, description="Adam's")
    norm: Annotated[Number, Field(gt=0, le=1e6)] = Field(5e-4, description="largest change of an entry of the matrix")
    stop: Factor = Field(0.01, description="loss (nats) at which the optimiser stops")


class FineTuning(Strict):
    """FT+L in Meng et al. (2022), after Zhu et al. (2020)."""

    method: Literal["fine_tuning"]
    families: dict[Family, FineTuningSettings] = Field(min_length=1, description="settings, by family")
    models: dict[Name, FineTuningSettings] = Field(default_factory=dict, description=OF_MODELS)


Editor = Annotated[Rome | KnowledgeNeuron | FineTuning, Field(discriminator="method")]


class Questions(Strict):
    """What an edited model is asked."""

    each: Count = Field(10, description="most questions per edit and criterion")
    others: Count = Field(10, description="most other subjects, verbs or distractors per edit and criterion")


class Continuations(Strict):
    """Texts that are continued before and after an edit."""

    tokens: Count = Field(20, description="most tokens that are written")
    samples: Count = Field(5, description="drawn per edit, for the entropy")
    top: Count = Field(5, description="most probable tokens that a sample draws from")
    shown: Whole = Field(
        3, ge=0, le=MOST, description="edits per model, editor and task whose completions the report shows"
    )


class Sweep(Strict):
    """ROME at every layer, to be set against causal tracing."""

    editor: Name = Field("rome", description="of the editors")
    tasks: list[Text] = Field(default_factory=list, description="of the edited relations; []: no sweep")
    requests: Count = Field(24, description="most per task and layer")
    every: Count = Field(1, description="of the layers")


class Editing(Strict):
    """What models are told to answer instead, and what else changes with it."""

    tasks: list[Text] = Field(default_factory=list, description="of the study's tasks; []: no edits")
    requests: Count | None = Field(None, description="most per task, of what the model knows; null: all")
    editors: dict[Name, Editor] = Field(default_factory=dict, description="method, or method-variant: settings")
    questions: Questions = Field(default_factory=Questions)
    continuations: Continuations = Field(default_factory=Continuations)
    sweep: Sweep = Field(default_factory=Sweep)
    examples: File | None = Field(
        None,
        description="file of example edits, as resources/poster.yaml; a path from the repository's root, or absolute",
    )
    batch_tokens: Whole = Field(4096, ge=64, le=MOST, description="rows x tokens that are in memory at once")
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
        if self.sweep.tasks and (swept is None or swept.method != "rome"):
            raise ValueError(f"sweep.editor: {self.sweep.editor!r} is none of the editors with method rome")
        return self
