"""What others reported of edits, in words, beside what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd


class Said(NamedTuple):
    """A published result, and of which rows: editor, task ("all": of facts), criterion, and family ("": of any)."""

    editor: str
    task: str
    criterion: str
    family: str
    text: str
    source: str


def with_published(table: pd.DataFrame, published: Mapping[str, Any]) -> pd.DataFrame:
    """`table` (columns family, editor, kind, task, criterion) with the columns published (text) and source.

    `published` is the section `editing` of resources/published.yaml. Where nothing is known, both are "".
    """
    result = table.assign(published="", source="").astype({"published": object, "source": object})
    for said in published_results(published):
        rows = (result["editor"] == said.editor) & (result["task"] == said.task)
        rows &= result["criterion"] == said.criterion
        if said.task == "all":
            rows &= result["kind"] == "relation"
        if said.family:
            rows &= result["family"] == said.family
        result.loc[rows, ["published", "source"]] = [said.text, said.source]
    return result


def published_results(published: Mapping[str, Any]) -> Iterator[Said]:
    """The poster's examples of ROME, by task and criterion; and how often edits of neurons succeed, on other data."""
    examples = published["rome_examples"]
    for example in examples.values():
        for criterion, outcome in example["criteria"].items() if isinstance(example, Mapping) else ():
            said = "; ".join(f"{what}: {', '.join(texts)}" for what, texts in outcome.items())
            text = f"one example, {examples['model']}: {said}"
            yield Said("rome", example["task"], criterion, examples["family"], text, examples["source"])
    measured = published["neuron_edit_reliability"]
    sets = {name: values for name, values in measured.items() if name != "source"}
    said = "; ".join(
        f"{name}: {', '.join(f'{model} {value} %' for model, value in values.items())}" for name, values in sets.items()
    )
    yield Said("knowledge_neuron", "all", "reliability", "", said, measured["source"])
