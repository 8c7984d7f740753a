"""Which model of the first run is set beside which of the second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.report.comparison.runs import Run


@dataclass(frozen=True)
class Pairing:
    """Pairs of models, the models that have none, and one sentence on how pairs were found."""

    pairs: tuple[tuple[str, str], ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    how: str


def paired_models(first: Run, second: Run, named: Sequence[str]) -> Pairing:
    """Pairs as `named` ("A=B") says, then models of the same name that are not named; else by family.

    Of one and the same folder only the named pairs count. Published values go with every model of their family.
    Raises UserError for a name that a run does not have and when no pair is left.
    """
    of_first, of_second = first.models, second.models
    pairs = [_split(text, first, second) for text in named]
    how = "Models were paired as asked." if pairs else ""
    taken_first, taken_second = ({pair[side] for pair in pairs} for side in (0, 1))
    if not (pairs and first.folder == second.folder):
        same = [
            model for model in of_first if model in of_second and model not in taken_first and model not in taken_second
        ]
        pairs += [(model, model) for model in same]
        how = " ".join(filter(None, [how, "Models of the same name are compared." if same else ""]))
    if not pairs and of_first and of_second:
        pairs = _by_family(first, second)
        how = "The runs share no model's name: models were paired by family."
    if not pairs and (of_first or of_second):
        raise UserError(
            f"no model to compare: {first.name} has {_listed(of_first)}, {second.name} has {_listed(of_second)}; "
            'name pairs, such as ARGS="--models gpt2=gpt2-xl"'
        )
    pairs = list(dict.fromkeys(pairs))
    left = [
        tuple(model for model in models if model not in {pair[side] for pair in pairs})
        for side, models in enumerate((of_first, of_second))
    ]
    return Pairing(tuple(pairs), *left, how)


def _split(text: str, first: Run, second: Run) -> tuple[str, str]:
    names = text.split("=")
    if len(names) != 2 or not all(names):
        raise UserError(f"--models {text}: write the first run's model, =, and the second's, such as gpt2=gpt2-xl")
    for name, run in zip(names, (first, second), strict=True):
        if name not in run.models:
            raise UserError(f"--models {text}: {run.name} has no model {name}, but {_listed(run.models)}")
    if first.folder == second.folder and names[0] == names[1]:
        raise UserError(f"--models {text}: a model and itself in one run; name two models, such as bert=bert-swapped")
    return names[0], names[1]


def _by_family(first: Run, second: Run) -> list[tuple[str, str]]:
    """One model of each family on both sides, or all of a family beside the published values; else none at all."""
    counts = [Counter(filter(None, run.models.values())) for run in (first, second)]
    if None not in (first.folder, second.folder) and any(count > 1 for side in counts for count in side.values()):
        return []
    return [
        (one, other)
        for one, family in first.models.items()
        for other, its in second.models.items()
        if family and family == its
    ]


def _listed(models: Sequence[str] | dict[str, str]) -> str:
    return ", ".join(models) or "none"


def label(pair: tuple[str, str]) -> str:
    """How a pair is called in tables."""
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} / {pair[1]}"


def one_side(table: pd.DataFrame, run: Run, pairing: Pairing, side: int) -> pd.DataFrame:
    """Rows of the paired models, `model` being the pair's label; a table without `model` as it is.

    A row whose `model` is no model's name (empty, or "all") is kept as it stands.
    """
    if "model" not in table.columns:
        return table
    names = table["model"]
    parts = [table[names == pair[side]].assign(model=label(pair)) for pair in pairing.pairs]
    parts.append(table[names.isna() | ~names.astype(str).isin(list(run.models))])
    some = [part for part in parts if len(part)]
    return pd.concat(some, ignore_index=True) if some else table.iloc[:0]
