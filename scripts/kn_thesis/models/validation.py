"""The questions that decide when training ends: kept out of the training text, and never asked by the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pandas as pd

from kn_thesis.corpora.gaps import GapTokenizer
from kn_thesis.corpora.prompts import Settings, make_prompts
from kn_thesis.corpora.split import HELD_OUT, VALIDATION
from kn_thesis.models.evaluate import evaluate_prompts
from kn_thesis.models.learned import Demands, accuracies, demanded

if TYPE_CHECKING:
    from kn_thesis.models.load import Model

ROOM = 0.5  # of the errors that a demand allows: training ends at 95 % where 90 % are demanded


@dataclass(frozen=True)
class Questions:
    """What a model is asked while it is trained.

    files: of each task, `pairs`, or `patterns` and `facts`. settings: which of their items become prompts.
    demands: the accuracies that the study demands of what it asks later, by kind of task (see `learned.demanded`).
    """

    files: Mapping[str, Mapping[str, str]]
    settings: Settings
    demands: Demands


class Validation:
    """The questions as one model's tokenizer sees them, and the order in which tasks are asked."""

    def __init__(self, questions: Questions, tokenizer: GapTokenizer) -> None:
        """Encode every question. A task with no validation item asks its trained paraphrases, or nothing."""
        self.demands = questions.demands
        self.prompts: dict[str, pd.DataFrame] = {}
        for task, files in questions.files.items():
            if task in questions.demands.get("exempt", ()):
                continue
            _, prompts, _ = make_prompts(task, tokenizer, questions.settings, **files)
            if prompts:
                self.prompts[task] = pd.DataFrame([asdict(prompt) for prompt in prompts])

    @property
    def first(self) -> str:
        """The task that is asked first: after a check, the one that failed."""
        return next(iter(self.prompts), "")

    def has_learned(self, model: Model, as_well_as: str = "wanted") -> bool:
        """Whether the model answers every task as well as is `demanded`, or `wanted` when training ends.

        The task that fails is asked first next time.
        """
        for task in list(self.prompts):
            table = self.table(model, task)
            if (table["accuracy"] < table[as_well_as]).any():
                self.prompts = {task: self.prompts.pop(task)} | self.prompts
                return False
        return True

    def table(self, model: Model, task: str | None = None) -> pd.DataFrame:
        """One row per task and split, of one task or of all: task, split, n, correct, accuracy, demanded, wanted.

        wanted: what training ends with, the demand with half of the errors that it allows taken away.
        """
        asked = [self.prompts[task]] if task else list(self.prompts.values())
        tables = [accuracies(evaluate_prompts(model, prompts)) for prompts in asked]
        columns = ["task", "split", "n", "correct", "accuracy", "demanded", "wanted"]
        if not tables:
            return pd.DataFrame(columns=columns)
        table = pd.concat(tables, ignore_index=True)
        splits = table["split"].replace(VALIDATION, HELD_OUT)
        demands = [
            demanded(name, kind, split, self.demands)
            for name, kind, split in zip(table["task"], table["kind"], splits, strict=True)
        ]
        wanted = [1 - (1 - demand) * ROOM for demand in demands]
        return table.assign(demanded=demands, wanted=wanted)[columns]
