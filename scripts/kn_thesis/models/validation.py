"""Validation questions that decide when training ends: held out of the training text and not used by the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pandas as pd

from kn_thesis.corpora.prompts import Settings, make_prompts
from kn_thesis.corpora.sampling import HELD_OUT, VALIDATION
from kn_thesis.models.cloze import GapTokenizer
from kn_thesis.models.demands import Demands, accuracies, demanded_accuracies
from kn_thesis.models.evaluate import evaluate_prompts

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


MARGIN = 0.5  # of the errors that a demand allows: if 90 % are demanded, training ends at 95 %


@dataclass(frozen=True)
class Questions:
    """What a model is asked during training.

    Attributes:
        files: Of each task, `pairs`, or `patterns` and `facts`.
        settings: Which of their items become prompts.
        demands: The accuracies that the study demands, see `demands.demanded_accuracies`.
    """

    files: Mapping[str, Mapping[str, str]]
    settings: Settings
    demands: Demands


class Validation:
    """The questions in one model's tokens, and the order in which tasks are asked."""

    def __init__(self, questions: Questions, tokenizer: GapTokenizer) -> None:
        """Encode every question; a task without validation items asks its trained paraphrases, or nothing."""
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
        """The task that is asked first; after a check, the one that failed."""
        return next(iter(self.prompts), "")

    def has_learned(self, model: Model, as_well_as: str = "wanted") -> bool:
        """Return whether every accuracy is as high as the column `as_well_as` of `table`, "demanded" or "wanted".

        A task that fails is asked first next time.
        """
        for task in list(self.prompts):
            table = self.table(model, task)
            if (table["accuracy"] < table[as_well_as]).any():
                self.prompts = {task: self.prompts.pop(task)} | self.prompts
                return False
        return True

    def table(self, model: Model, task: str | None = None) -> pd.DataFrame:
        """Evaluate one task, or all: a row per task and split.

        The columns are task, split, n, correct, accuracy, demanded, and wanted: the accuracy with which training ends,
        which has half of the errors that the demand allows.
        """
        tasks = [self.prompts[task]] if task else list(self.prompts.values())
        tables = [accuracies(evaluate_prompts(model, prompts)) for prompts in tasks]
        columns = ["task", "split", "n", "correct", "accuracy", "demanded", "wanted"]
        if not tables:
            return pd.DataFrame(columns=columns)
        table = pd.concat(tables, ignore_index=True)
        splits = table["split"].replace(VALIDATION, HELD_OUT)
        demands = [
            demanded_accuracies(name, kind, split, self.demands)
            for name, kind, split in zip(table["task"], table["kind"], splits, strict=True)
        ]
        wanted = [1 - (1 - demand) * MARGIN for demand in demands]
        return table.assign(demanded=demands, wanted=wanted)[columns]
