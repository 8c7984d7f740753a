"""Sample completions before and after an edit, as on the authors' poster: HTML that needs no other file."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pandas as pd

from kn_thesis.editing.rows import chosen, editors_of, models_of
from kn_thesis.editing.words import criterion_words, editor_words

if TYPE_CHECKING:
    from IPython.display import HTML

# A word and a sign each, so that nothing is told by colour alone.
MARKS = {"True": ("✓", "right", "#00795a"), "False": ("✗", "wrong", "#b3261e")}
COLUMNS = ("criterion", "prompt", "before", "after", "the edit asks for", "after the edit")
WRAPPED = 'style="white-space:normal;min-width:12rem"'
GAP = "___"


def completions(data: pd.DataFrame, caption: str) -> HTML:
    """The table of `completions_html`, shown by a notebook."""
    from IPython.display import HTML

    return HTML(completions_html(data, caption))


def completions_html(data: pd.DataFrame, caption: str) -> str:
    """Completions of editing_completions.csv: a part to open per model and editor, in it a block of rows per edit."""
    link = '<a href="tables/editing_completions.csv" download>CSV</a>'
    text = f'<p id="table-editing_completions">{html.escape(caption)} {link}</p>'
    parts = [
        _part(model, editor, chosen(data, model=model, editor=editor), first=not number)
        for number, (model, editor) in enumerate(
            (model, editor) for model in models_of(data) for editor in editors_of(chosen(data, model=model))
        )
    ]
    return text + ("".join(parts) or "<p>No completion was kept.</p>")


def _part(model: str, editor: str, rows: pd.DataFrame, first: bool) -> str:
    counts = [f"{sign} {word} {(rows['holds'].map(_truth) == name).sum()}" for name, (sign, word, _) in MARKS.items()]
    edits = rows.groupby(["task", "edit"], sort=False)
    head = "".join(f"<th scope='col'>{name}</th>" for name in COLUMNS)
    return (
        f"<details{' open' if first else ''}><summary>{html.escape(model)}, {html.escape(editor_words(editor))}: "
        f"{len(edits)} edit{'s' * (len(edits) != 1)}, answers {', '.join(counts)}</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        + "".join(_edit(str(task), part) for (task, _), part in edits)
        + "</table></div></details>"
    )


def _edit(task: str, rows: pd.DataFrame) -> str:
    """The block of one edit: what was edited, then a row per question."""
    first = rows.iloc[0]
    edited = " · ".join(html.escape(str(part)) for part in (task, first["subject"]))
    change = f"{html.escape(str(first['old']))} → {html.escape(str(first['new']))}"
    head = f"<tr><th colspan='{len(COLUMNS)}' scope='rowgroup'>{edited}: {change}</th></tr>"
    return f"<tbody>{head}{''.join(_question(row) for _, row in rows.iterrows())}</tbody>"


def _question(row: pd.Series) -> str:
    prompt = str(row["question"]).split(GAP)[0].strip()
    negated = row["criterion"] == "symmetry_old"  # there `expected` is what must be gone
    asked = f"not {row['expected']}" if negated else str(row["expected"])
    cells = [criterion_words(str(row["criterion"])), f"{prompt} …", *(_line(row[name]) for name in ("before", "after"))]
    wide = "".join(f"<td {WRAPPED}>{html.escape(cell)}</td>" for cell in (*cells[1:], asked)[:3])
    return f"<tr><td>{html.escape(cells[0])}</td>{wide}<td>{html.escape(asked)}</td><td>{_mark(row['holds'])}</td></tr>"


def _mark(holds: object) -> str:
    if _truth(holds) not in MARKS:
        return "– not judged"
    sign, word, colour = MARKS[_truth(holds)]
    return f'<span style="color:{colour};font-weight:600">{sign} {word}</span>'


def _truth(value: object) -> str:
    """A truth value as a CSV file has it: "True", "False", or something else for an empty cell."""
    return str(value).strip().capitalize()


def _line(text: object) -> str:
    """A continuation in one line, its line breaks to be seen."""
    return "" if pd.isna(text) else str(text).strip().replace("\n", " ⏎ ")
