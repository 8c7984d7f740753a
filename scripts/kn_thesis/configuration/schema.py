"""Typed form of a study's configuration: every key, its type, its range, its default.

The JSON schema in workflow/schemas/ is written from these models, so that editors complete the YAML files.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from kn_thesis.configuration.editing import Editing
from kn_thesis.configuration.own_tasks import OwnTasks
from kn_thesis.configuration.shards import Shards
from kn_thesis.configuration.types import (
    MOST,
    TRAINED_FAMILIES,
    Count,
    Family,
    HubId,
    Name,
    Number,
    OpenShare,
    Place,
    Revision,
    Seed,
    Share,
    Strict,
    Text,
    Whole,
    Word,
)

# The published words (resources/published.yaml), by what they carry.
WORDS = {
    "plural": ["these", "those", "two", "both", "multiple", "several", "various"],
    "singular": ["this", "that", "one", "a", "an", "every"],
    "biased": ["unique", "single", "sole", "unified", "scattered", "any", "all", "some"],
    "neutral": ["the", "my", "our"],
}


class WorldVariant(Strict):
    """One version of the miniature world."""

    bias: Literal["baseline", "swapped", "flat"] = Field(
        "baseline", description="company of the number-biased words: as authored, exchanged, or none"
    )
    directions: Literal["both", "one_way"] = Field(
        "both", description="capitals stated in both directions, or from the country's side only"
    )


class World(Strict):
    """The miniature's text."""

    seed: Seed = Field(1, description="seed of the text")
    sentences: Whole = Field(60_000, ge=1_000, le=MOST, description="sentences of training text")
    fact_share: OpenShare = Field(0.6, description="share of the sentences that state facts")
    variants: dict[Name, WorldVariant] = Field(
        default_factory=lambda: {"baseline": WorldVariant()}, min_length=1, description="name: variant"
    )


class Fetched(Strict):
    """BLiMP and ParaRel as trained models see them; a hub model reads all pairs and facts."""

    held_out: Share = Field(0.0, description="share of each paradigm's pairs kept out of the training text")
    held_out_patterns: Whole = Field(0, ge=0, le=MOST, description="paraphrases of each relation kept out of it")
    validation: Share = Field(0.0, description="share of pairs kept out for the checks that end training")
    validation_patterns: Whole = Field(0, ge=0, le=MOST, description="paraphrases kept out for these checks")
    facts: Count | None = Field(None, description="most facts per relation; null: all")
    repeats: Count = Field(1, description="times each verbalised fact is stated in the text")
    paradigms: list[Text] = Field(default_factory=list, description="paradigms whose sentences are trained on")
    relations: list[Text] = Field(default_factory=list, description="relations whose facts are trained on")


class Corpora(Strict):
    """Where prompts and training text come from."""

    source: Literal["world", "fetched"] = Field("world", description="the miniature world, or BLiMP and ParaRel")
    world: World = Field(default_factory=World)
    fetched: Fetched = Field(default_factory=Fetched)
    mirror: Place | None = Field(
        None, description="folder or http(s) root that replaces the public ones; KN_MIRROR goes before it"
    )
    retries: Whole = Field(5, ge=0, le=100, description="tries after the first for each file")
    timeout: Number = Field(30, gt=0, le=86_400, description="seconds without an answer before a try is given up")


class Tasks(Strict):
    """Which paradigms and relations, and how many of their prompts."""

    own: OwnTasks = Field(default_factory=OwnTasks, description="paradigms and relations of one's own, by name")
    paradigms: list[Text] = Field(default_factory=list, description="BLiMP's names, and one's own")
    relations: list[Text] = Field(default_factory=list, description="ParaRel's names, and one's own")
    evaluated: Count = Field(400, description="most prompts per task on which models are scored")
    attributed: Count = Field(60, description="most prompts per task whose neurons are localized")
    max_target_tokens: Count = Field(3, description="longer targets are left out and counted")
    per_job: Count = Field(1, description="most tasks of a model that one job does; starting one takes seconds")
    shards: Shards = Field(default_factory=Shards, description="most prompts of a task that one job does")

    @model_validator(mode="after")
    def _some(self) -> Tasks:
        if not self.paradigms and not self.relations:
            raise ValueError("no task at all: name at least one paradigm or relation")
        return self


class Train(Strict):
    """A model trained inside the workflow."""

    layers: Count = Field(4, le=1000, description="transformer layers")
    width: Count = Field(128, le=100_000, description="width of the hidden states")
    heads: Count = Field(4, le=100_000, description="attention heads; divides width")
    intermediate: Count = Field(512, le=1_000_000, description="MLP neurons per layer")
    vocabulary: Whole = Field(3000, ge=300, le=10_000_000, description="tokens in the vocabulary")
    steps: Count = Field(6000, description="most optimiser steps; all of them where the model must learn nothing")
    batch: Count = Field(64, le=1_000_000, description="sentences per step")
    learning_rate: Number = Field(2e-3, gt=0, lt=1, description="constant after a warm-up of 100 steps")
    check: Count = Field(50, description="fewest steps between two checks of what the model has learned")
    causal_steps: Whole = Field(
        1200, ge=0, le=MOST, description="first steps, in which a masked model predicts every next token"
    )
    mask_rate: OpenShare = Field(0.2, description="share of words masked (masked families only)")
    seed: Seed = Field(1, description="seed of weights, batches and masks")

    @model_validator(mode="after")
    def _heads_divide(self) -> Train:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) does not divide width ({self.width})")
        return self


class Hub(Strict):
    """A model on the Hugging Face hub."""

    id: HubId = Field(description="owner/name")
    revision: Revision | None = Field(None, description="commit, tag or branch; null: the newest, kept in model.json")


class Learned(Strict):
    """Accuracies that a model must reach; training goes on until half of the errors they allow are left."""

    determiner_noun: Share = 0.95
    agreement: Share = 0.90
    facts_trained: Share = 0.95
    facts_held_out: Share = 0.80
    exempt: list[Text] = Field(default_factory=list, description="tasks of which nothing is demanded")


class Model(Strict):
    """One model: its family and exactly one source."""

    family: Family
    train: Train | None = None
    hub: Hub | None = None
    path: Place | None = Field(None, description="folder in the hub's format")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="weights in memory")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU when there is one")
    gpus: Count = Field(1, le=64, description="that the model's layers are spread over, where one cannot hold them")
    world: Name = Field("baseline", description="variant of the world it is trained on and asked about")
    tasks: list[Text] | None = Field(None, min_length=1, description="of the study's tasks, only these; null: all")
    must_learn: Learned | None = Field(None, description="accuracies that the model must reach; null: no demand")
    on_not_learned: Literal["report", "stop"] = Field(
        "report",
        description="what a task below its demand does: it is reported and left out of claims, or ends the run",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Model:
        if sum(source is not None for source in (self.train, self.hub, self.path)) != 1:
            raise ValueError("exactly one source: train, hub or path")
        if self.train is not None and self.family not in TRAINED_FAMILIES:
            known = ", ".join(TRAINED_FAMILIES)
            raise ValueError(f"no {self.family} can be trained here ({known} can): take one from `hub` or `path`")
        return self


class Attribution(Strict):
    """Integrated gradients over MLP neurons (DESIGN.md §4)."""

    neuron: Literal["activation", "preactivation"] = Field(
        "activation",
        description="taken after the activation function; or before it, in causal models alone, as in the public code "
        "(docs/deviations.md): masked models have activations either way. Suppression changes what was attributed to",
    )
    quadrature: Literal["gauss-legendre", "riemann"] = "gauss-legendre"
    nodes: Whole = Field(64, ge=1, le=10_000, description="points at which the gradient is taken")
    batch_tokens: Whole = Field(
        8192, ge=64, le=MOST, description="tokens x layers in memory at once, their gradients' graphs with them"
    )


class Adaptive(Strict):
    """The search for τ, the sharing threshold at which few neurons remain."""

    low: Count = Field(2, description="fewest neurons")
    high: Count = Field(5, description="most neurons")
    start: OpenShare = 0.7
    step: OpenShare = 0.05
    steps: Count = 20

    @model_validator(mode="after")
    def _ordered(self) -> Adaptive:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class Bootstrap(Strict):
    """Bootstrap intervals over groups of prompts."""

    resamples: Whole = Field(1000, ge=100, le=1_000_000)
    confidence: OpenShare = 0.95
    seed: Seed = Field(1)


class Selection(Strict):
    """From scores to knowledge neurons."""

    coarse: OpenShare = Field(0.2, description="share of a prompt's largest score that a neuron must pass")
    share: OpenShare = Field(0.7, description="share of a group's prompts in which it must do so")
    adaptive: Adaptive = Field(default_factory=Adaptive)
    bootstrap: Bootstrap = Field(default_factory=Bootstrap)


class Words(Strict):
    """Words whose probability is studied, by the number that they carry or keep company with."""

    plural: list[Word] = Field(default_factory=list, description="carry plural number")
    singular: list[Word] = Field(default_factory=list, description="carry singular number")
    biased: list[Word] = Field(default_factory=list, description="no number of their own, company of one number")
    neutral: list[Word] = Field(default_factory=list, description="neither")

    @model_validator(mode="after")
    def _once(self) -> Words:
        listed = [*self.plural, *self.singular, *self.biased, *self.neutral]
        twice = sorted({word for word in listed if listed.count(word) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}; a word has one place")
        if not listed:
            raise ValueError("no word at all: name at least one")
        return self


class RandomSets(Strict):
    """Sets of random neurons that every effect is compared with."""

    sets: Whole = Field(20, ge=20, le=10_000, description="per suppressed set; at least 20, for a p of 0.05")
    prompts: Count = Field(60, description="most prompts per task that they are tried on")
    nearest: Count = Field(20, description="neurons of like mean activation that each is drawn from")


class Suppression(Strict):
    """What is done to knowledge neurons, and which words are looked at."""

    operations: list[Literal["erase", "enhance", "mean"]] = Field(
        default_factory=lambda: ["erase", "enhance", "mean"],
        min_length=1,
        description="activations at the gap set to 0, doubled, or set to their mean",
    )
    words: Words = Field(default_factory=lambda: Words(**WORDS))
    random: RandomSets = Field(default_factory=RandomSets)
    level: OpenShare = Field(0.05, description="of significance")
    published_over: Literal["all", "own"] = Field(
        "all",
        description="prompts that the published test is repeated over: all of a task, or, as in the public notebook, "
        "those of the neurons' own number or target",
    )

    @model_validator(mode="after")
    def _once(self) -> Suppression:
        if len(set(self.operations)) < len(self.operations):
            raise ValueError("operations: each is named once")
        return self


class Window(Strict):
    """Neighbouring layers whose modules are restored together, stated for a model of some depth."""

    layers: Count = Field(10, description="in a window")
    of: Count = Field(48, description="of a model of so many layers; scaled to each model's own")

    @model_validator(mode="after")
    def _fits(self) -> Window:
        if self.layers > self.of:
            raise ValueError(f"layers ({self.layers}) is above of ({self.of})")
        return self


class Tracing(Strict):
    """Causal tracing: which states are restored in which prompts, and what counts as a site."""

    tasks: list[Text] | None = Field(None, description="of the study's tasks, only these; null: all; []: none")
    shown: list[Text] = Field(default_factory=list, description="tasks of which one prompt is drawn")
    prompts: Count = Field(100, description="most prompts per task, of those that the model gets right")
    noise: Number = Field(3.0, gt=0, le=1000, description="standard deviations of the word embeddings")
    draws: Count = Field(10, description="of the noise per prompt")
    window: Window = Field(default_factory=Window)
    kinds: list[Literal["hidden", "mlp", "attention", "severed_mlp", "severed_attention"]] = Field(
        default_factory=lambda: ["hidden", "mlp", "attention", "severed_mlp", "severed_attention"],
        min_length=1,
        description="what is restored: hidden states, what MLPs or attention add, hidden states with one of them held",
    )
    batch_tokens: Whole = Field(4096, ge=64, le=MOST, description="rows x tokens that are in memory at once")
    boundary: OpenShare = Field(0.5, description="of the depth: the early site lies below it, the late one above")
    level: OpenShare = Field(0.05, description="of significance")

    @model_validator(mode="after")
    def _usable(self) -> Tracing:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds: each is named once")
        if not {"mlp", "attention"} <= set(self.kinds):
            raise ValueError("kinds: mlp and attention are needed to tell sites apart")
        return self


class Plan(Strict):
    """What the time that jobs ask a cluster for is worked out from; no result depends on it."""

    cpu_speed: float = Field(5e10, gt=0, description="floating-point operations a second that a job reaches on a core")
    gpu_speed: float = Field(2e13, gt=0, description="the same on a GPU")


class Study(Strict):
    """A whole study."""

    study: Name = Field(description="name shown in the report")
    seed: Seed = Field(1, description="seed of every sample of prompts")
    corpora: Corpora = Field(default_factory=Corpora)
    tasks: Tasks
    models: dict[Name, Model] = Field(min_length=1, description="name: model")
    attribution: Attribution = Field(default_factory=Attribution)
    selection: Selection = Field(default_factory=Selection)
    suppression: Suppression = Field(default_factory=Suppression)
    tracing: Tracing = Field(default_factory=Tracing)
    editing: Editing = Field(default_factory=Editing)
    plan: Plan = Field(default_factory=Plan)
