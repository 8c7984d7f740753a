"""Define the schema of a study's configuration: every key with its type, range, default and description.

scripts/write_schema.py writes the JSON schema in workflow/schemas/ from these models, so that editors can complete and
check the YAML files. Docstrings and descriptions become part of it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from kn_thesis.configuration.editing import Editing
from kn_thesis.configuration.types import (
    MAX_COUNT,
    TRAINED_FAMILIES,
    Count,
    Family,
    HubId,
    Name,
    Number,
    OpenShare,
    OwnTasks,
    Place,
    Revision,
    Seed,
    Shards,
    Share,
    Strict,
    Text,
    Whole,
    Word,
)

# The published words (resources/published.yaml) by the number that they carry or co-occur with.
WORDS = {
    "plural": ["these", "those", "two", "both", "multiple", "several", "various"],
    "singular": ["this", "that", "one", "a", "an", "every"],
    "biased": ["unique", "single", "sole", "unified", "scattered", "any", "all", "some"],
    "neutral": ["the", "my", "our"],
}


class WorldVariant(Strict):
    """One version of the miniature world."""

    bias: Literal["baseline", "swapped", "flat"] = Field(
        "baseline",
        description="co-occurrence of the number-biased words with singular and plural nouns: "
        "as authored, exchanged, or the same for both",
    )
    directions: Literal["both", "one_way"] = Field(
        "both", description="whether capitals are stated in both directions or from the country's side only"
    )


class World(Strict):
    """The text of the miniature world."""

    seed: Seed = Field(1, description="seed of the text")
    sentences: Whole = Field(60_000, ge=1_000, le=MAX_COUNT, description="sentences of training text")
    fact_share: OpenShare = Field(0.6, description="share of the sentences that state facts")
    variants: dict[Name, WorldVariant] = Field(
        default_factory=lambda: {"baseline": WorldVariant()}, min_length=1, description="variants by name"
    )


class Fetched(Strict):
    """BLiMP and ParaRel as training text; models from the hub are asked about all pairs and facts."""

    held_out: Share = Field(0.0, description="share of each paradigm's pairs that the training text leaves out")
    held_out_patterns: Whole = Field(
        0, ge=0, le=MAX_COUNT, description="paraphrases of each relation that the training text leaves out"
    )
    validation: Share = Field(0.0, description="share of pairs left out for the checks that end training")
    validation_patterns: Whole = Field(
        0, ge=0, le=MAX_COUNT, description="paraphrases of each relation left out for these checks"
    )
    facts: Count | None = Field(None, description="maximum number of facts per relation; null: all")
    repeats: Count = Field(1, description="copies of each stated fact in the text")
    paradigms: list[Text] = Field(
        default_factory=list, description="paradigms whose sentences are in the training text"
    )
    relations: list[Text] = Field(default_factory=list, description="relations whose facts are in the training text")


class Corpora(Strict):
    """Where prompts and training text come from."""

    source: Literal["world", "fetched"] = Field("world", description="the miniature world, or BLiMP and ParaRel")
    world: World = Field(default_factory=World)
    fetched: Fetched = Field(default_factory=Fetched)
    mirror: Place | None = Field(
        None,
        description="folder or http(s) root in place of the public ones; the environment's KN_MIRROR takes precedence",
    )
    retries: Whole = Field(5, ge=0, le=100, description="further attempts for each file after the first")
    timeout: Number = Field(30, gt=0, le=86_400, description="seconds without an answer before an attempt is given up")


class Tasks(Strict):
    """Which paradigms and relations, and how many of their prompts."""

    own: OwnTasks = Field(default_factory=OwnTasks, description="a user's own paradigms and relations, by name")
    paradigms: list[Text] = Field(default_factory=list, description="names of BLiMP's or own paradigms")
    relations: list[Text] = Field(default_factory=list, description="names of ParaRel's or own relations")
    evaluated: Count = Field(400, description="maximum number of prompts per task on which models are scored")
    attributed: Count = Field(60, description="maximum number of prompts per task whose neurons are localized")
    max_target_tokens: Count = Field(
        3, description="maximum length of a target; prompts with longer ones are left out and counted"
    )
    per_job: Count = Field(1, description="maximum number of tasks of a model per job; starting a job takes seconds")
    shards: Shards = Field(default_factory=Shards, description="maximum number of prompts of a task per job")

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
    steps: Count = Field(6000, description="maximum number of optimiser steps; all are taken if `must_learn` is null")
    batch: Count = Field(64, le=1_000_000, description="sentences per step")
    learning_rate: Number = Field(2e-3, gt=0, lt=1, description="learning rate, constant after a warm-up of 100 steps")
    check: Count = Field(50, description="minimum number of steps between two checks of what the model has learned")
    causal_steps: Whole = Field(
        1200,
        ge=0,
        le=MAX_COUNT,
        description="number of initial steps in which a masked model predicts every next token",
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
    revision: Revision | None = Field(
        None, description="commit, tag or branch; null: the newest commit, recorded in model.json"
    )


class Learned(Strict):
    """Accuracies that a model must reach; training continues until at most half of the errors they allow are left."""

    determiner_noun: Share = 0.95
    agreement: Share = 0.90
    facts_trained: Share = 0.95
    facts_held_out: Share = 0.80
    exempt: list[Text] = Field(default_factory=list, description="tasks without a required accuracy")


class Model(Strict):
    """One model: its family and exactly one source."""

    family: Family
    train: Train | None = None
    hub: Hub | None = None
    path: Place | None = Field(None, description="folder with a model in the hub's format")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the weights in memory"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if there is one")
    gpus: Count = Field(
        1, le=64, description="number of GPUs over which the model's layers are distributed if one GPU cannot hold them"
    )
    world: Name = Field("baseline", description="variant of the world that it is trained on and asked about")
    tasks: list[Text] | None = Field(None, min_length=1, description="subset of the study's tasks; null: all")
    must_learn: Learned | None = Field(None, description="accuracies that the model must reach; null: none")
    on_not_learned: Literal["report", "stop"] = Field(
        "report",
        description="if a task misses its accuracy, report it and leave it out of claims, or stop the run",
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
    """Integrated gradients over MLP neurons (docs/method.md §3)."""

    neuron: Literal["activation", "preactivation"] = Field(
        "activation",
        description="neurons after the activation function, or before it as in the public code (docs/deviations.md), "
        "which applies to causal models only. Suppression changes the same neurons",
    )
    quadrature: Literal["gauss-legendre", "riemann"] = "gauss-legendre"
    nodes: Whole = Field(64, ge=1, le=10_000, description="number of points at which the gradient is computed")
    batch_tokens: Whole = Field(
        8192, ge=64, le=MAX_COUNT, description="tokens × layers in memory at once, with the graphs of their gradients"
    )


class Adaptive(Strict):
    """The search for τ, the sharing threshold at which few neurons remain."""

    low: Count = Field(2, description="minimum number of neurons")
    high: Count = Field(5, description="maximum number of neurons")
    start: OpenShare = Field(0.7, description="first threshold")
    step: OpenShare = Field(0.05, description="difference between two thresholds")
    steps: Count = Field(20, description="maximum number of thresholds")

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

    coarse: OpenShare = Field(0.2, description="share of a prompt's largest score that a neuron must exceed")
    share: OpenShare = Field(0.7, description="share of a group's prompts in which it must do so")
    adaptive: Adaptive = Field(default_factory=Adaptive)
    bootstrap: Bootstrap = Field(default_factory=Bootstrap)


class Words(Strict):
    """Words whose probability is studied, by the number that they carry or co-occur with."""

    plural: list[Word] = Field(default_factory=list, description="carry plural number")
    singular: list[Word] = Field(default_factory=list, description="carry singular number")
    biased: list[Word] = Field(
        default_factory=list, description="carry no number, but co-occur mostly with nouns of one number"
    )
    neutral: list[Word] = Field(default_factory=list, description="neither carry a number nor co-occur mostly with one")

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

    sets: Whole = Field(
        20, ge=20, le=10_000, description="random sets per suppressed set; at least 20, so that p can reach 0.05"
    )
    prompts: Count = Field(60, description="maximum number of prompts per task on which they are suppressed")
    nearest: Count = Field(
        20, description="number of neurons with a similar mean activation from which each one is drawn"
    )


class Suppression(Strict):
    """What is done to knowledge neurons, and which words are studied."""

    operations: list[Literal["erase", "enhance", "mean"]] = Field(
        default_factory=lambda: ["erase", "enhance", "mean"],
        min_length=1,
        description="activations at the mask position are set to 0, doubled, or set to their mean",
    )
    words: Words = Field(default_factory=lambda: Words(**WORDS))
    random: RandomSets = Field(default_factory=RandomSets)
    level: OpenShare = Field(0.05, description="level of significance")
    published_over: Literal["all", "own"] = Field(
        "all",
        description="prompts of the published test: all of a task, or those of the neurons' own number or target, as "
        "in the public notebook",
    )

    @model_validator(mode="after")
    def _once(self) -> Suppression:
        if len(set(self.operations)) < len(self.operations):
            raise ValueError("operations: each is named once")
        return self


class Window(Strict):
    """Neighbouring layers whose modules are restored together, scaled to each model's depth."""

    layers: Count = Field(10, description="number of layers in a window of a model with `of` layers")
    of: Count = Field(48, description="depth of the model for which `layers` is stated")

    @model_validator(mode="after")
    def _fits(self) -> Window:
        if self.layers > self.of:
            raise ValueError(f"layers ({self.layers}) is above of ({self.of})")
        return self


class Tracing(Strict):
    """Causal tracing: which states are restored in which prompts, and what counts as a site."""

    tasks: list[Text] | None = Field(None, description="subset of the study's tasks; null: all; []: none")
    shown: list[Text] = Field(default_factory=list, description="tasks for which a figure shows one prompt")
    prompts: Count = Field(
        100, description="maximum number of prompts per task, among those that the model answers correctly"
    )
    noise: Number = Field(
        3.0, gt=0, le=1000, description="standard deviation of the noise, in standard deviations of the word embeddings"
    )
    draws: Count = Field(10, description="number of noise samples per prompt")
    window: Window = Field(default_factory=Window)
    kinds: list[Literal["hidden", "mlp", "attention", "severed_mlp", "severed_attention"]] = Field(
        default_factory=lambda: ["hidden", "mlp", "attention", "severed_mlp", "severed_attention"],
        min_length=1,
        description="what is restored: hidden states, the output of MLPs or attention, or hidden states while "
        "one of these is held at its corrupted value",
    )
    batch_tokens: Whole = Field(4096, ge=64, le=MAX_COUNT, description="rows × tokens in memory at once")
    boundary: OpenShare = Field(
        0.5, description="share of the depth that separates the early site below it from the late site above"
    )
    level: OpenShare = Field(0.05, description="level of significance")

    @model_validator(mode="after")
    def _usable(self) -> Tracing:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds: each is named once")
        if not {"mlp", "attention"} <= set(self.kinds):
            raise ValueError("kinds: mlp and attention are needed to tell sites apart")
        return self


class Plan(Strict):
    """Speeds from which the run time requested from a cluster is estimated; no result depends on them."""

    cpu_speed: float = Field(5e10, gt=0, description="floating-point operations per second of a job per CPU core")
    gpu_speed: float = Field(2e13, gt=0, description="floating-point operations per second of a job on a GPU")


class Study(Strict):
    """The configuration of a study."""

    study: Name = Field(description="name shown in the report")
    seed: Seed = Field(1, description="seed of every sample of prompts")
    corpora: Corpora = Field(default_factory=Corpora)
    tasks: Tasks
    models: dict[Name, Model] = Field(min_length=1, description="models by name")
    attribution: Attribution = Field(default_factory=Attribution)
    selection: Selection = Field(default_factory=Selection)
    suppression: Suppression = Field(default_factory=Suppression)
    tracing: Tracing = Field(default_factory=Tracing)
    editing: Editing = Field(default_factory=Editing)
    plan: Plan = Field(default_factory=Plan)
