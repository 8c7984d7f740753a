"""What the report shows of example edits: sentences, and HTML that needs no other file."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pandas as pd

from kn_thesis.editing.names import EDITED
from kn_thesis.editing.rows import chosen, editors_of, models_of, of, true
from kn_thesis.editing.words import editor_words, listed

if TYPE_CHECKING:
    from IPython.display import HTML

# A sign and a word each, so that nothing is told by colour alone.
MARKS = {True: ("✓", "as printed", "#00795a"), False: ("✗", "differs", "#b3261e")}
WRAPPED = 'style="white-space:normal;min-width:10rem"'
ANSWERS = {"old": "the old answer", "new": "the new answer", "neither": "neither answer"}


def say_examples(data: pd.DataFrame) -> list[str]:
    """A line per model and editor: what became of the examples, and where that differs from what is printed."""
    data = _filled(data)
    if data.empty:
        return ["No model of this study goes on with a text and has an editor for it: no example was edited."]
    return [
        f"**{model}, {editor_words(editor)}**: {_said(chosen(data, model=model, editor=editor))}"
        for model in models_of(data)
        for editor in editors_of(chosen(data, model=model))
    ]


def examples_table(data: pd.DataFrame, caption: str) -> HTML:
    """The table of `examples_html`, shown by a notebook."""
    from IPython.display import HTML

    return HTML(examples_html(data, caption))


def examples_html(data: pd.DataFrame, caption: str) -> str:
    """Completions of editing_examples.csv: a part to open per model and editor, in it a block of rows per example."""
    data = _filled(data)
    link = '<a href="tables/editing_examples.csv" download>CSV</a>'
    text = f'<p id="table-editing_examples">{html.escape(caption)} {link}</p>'
    parts = [
        _part(model, editor, chosen(data, model=model, editor=editor), first=not number)
        for number, (model, editor) in enumerate(
            (model, editor) for model in models_of(data) for editor in editors_of(chosen(data, model=model))
        )
    ]
    return text + "".join(parts)


def _filled(data: pd.DataFrame) -> pd.DataFrame:
    """Texts as they were before they went through a file: an empty one is no missing value."""
    texts = [name for name in data.columns if not name.startswith("p_")]
    return data.assign(**{name: data[name].astype(object).where(data[name].notna(), "") for name in texts})


def _said(rows: pd.DataFrame) -> str:
    told = _beside_printed(rows) if rows["printed_after"].ne("").any() else _reached(rows)
    return "; ".join([told, *_remarks(rows)]) + "."


def _reached(rows: pd.DataFrame) -> str:
    """Which answers the edited model gives, to the edited prompts and to the others."""
    edited = rows["prompt"] == rows["edited"].map(_bare)
    parts = []
    for name, some in (("edited", rows[edited]), ("further", rows[~edited])):
        counts = [f"{number} with {words}" for kind, words in ANSWERS.items() if (number := _count(some, kind))]
        if counts:
            parts.append(f"{len(some)} {name} prompt{'s' * (len(some) != 1)}, {listed(counts)}")
    return f"the edited model continues, of {'; of '.join(parts)}" if parts else "nothing was continued after an edit"


def _count(rows: pd.DataFrame, answer: str) -> int:
    return int((rows["answer_after"] == answer).sum())


def _beside_printed(rows: pd.DataFrame) -> str:
    """How many prompts are answered as printed before and after the edit, and which are not after it."""
    asked = rows[rows["printed_after"] != ""]
    source = asked.iloc[0]
    differ = [
        f"*{row.prompt} …* ({ANSWERS.get(row.answer_after, 'nothing')}, printed: {ANSWERS[row.printed_answer_after]})"
        for row in asked.itertuples()
        if row.answer_after != row.printed_answer_after
    ]
    first = rows[rows["printed_before"] != ""]
    same = (first["answer_before"] == first["printed_answer_before"]).sum()
    before = f"before the edit {same} of {len(first)}, " if len(first) else ""
    by = f"{source['printed_model']} with {editor_words(source['printed_editor'])} ({source['printed_source']})"
    text = f"{before}after it {len(asked) - len(differ)} of {len(asked)} prompts are answered as printed of {by}"
    return f"{text}; after it not {listed(differ)}" if differ else text


def _remarks(rows: pd.DataFrame) -> list[str]:
    """Examples that could not be edited or continued, and those that the model answers otherwise to begin with."""
    found = []
    for name in of(rows, "example"):
        first = chosen(rows, example=name).iloc[0]
        reasons = [reason for reason in of(chosen(rows, example=name), "status") if reason != EDITED]
        found += [f"{name}: {reason.rstrip('.')}" for reason in reasons]
        if pd.notna(first["p_old_before"]) and not true(pd.Series([first["known"]]))[0]:
            found.append(f"before the edit, *{_bare(first['edited'])}* is followed by “{first['says_before']}” and "
                         f"not by “{first['old']}”")  # fmt: skip
    return found


def _part(model: str, editor: str, rows: pd.DataFrame, first: bool) -> str:
    printed = rows["printed_after"].ne("").any()
    columns = ["prompt", *(["printed before", "printed after"] if printed else []), "before", "after", "after the edit"]
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    blocks = (_block(chosen(rows, example=name), printed, len(columns)) for name in of(rows, "example"))
    return (
        f"<details{' open' if first else ''}><summary>{html.escape(model)}, {html.escape(editor_words(editor))}"
        f'</summary><div class="scroll"><table><thead><tr>{head}</tr></thead>{"".join(blocks)}</table></div></details>'
    )


def _block(rows: pd.DataFrame, printed: bool, columns: int) -> str:
    """One example: what was edited and how probable both answers are there, then a row per prompt."""
    first = rows.iloc[0]
    chances = "; ".join(
        f"P({first[name]}) {first[f'p_{name}_before']:.2f} → {first[f'p_{name}_after']:.2f}"
        for name in ("old", "new")
        if pd.notna(first[f"p_{name}_after"])
    )
    parts = [f"{first['shows']}: {_bare(first['edited'])}", f"{first['old']} → {first['new']}", chances]
    title = html.escape(" · ".join(filter(None, parts)))
    body = "".join(_row(row, printed) for _, row in rows.iterrows())
    return f"<tbody><tr><th colspan='{columns}' scope='rowgroup'>{title}</th></tr>{body}</tbody>"


def _row(row: pd.Series, printed: bool) -> str:
    prompt = f"{row['prompt']}\N{NO-BREAK SPACE}…"
    texts = [prompt, *(row[["printed_before", "printed_after"]] if printed else []), row["before"], row["after"]]
    cells = "".join(f"<td {WRAPPED}>{html.escape(str(text))}</td>" for text in texts)
    return f"<tr>{cells}<td>{_mark(row)}</td></tr>"


def _mark(row: pd.Series) -> str:
    """The answer after the edit; beside a printed one, whether it is the same."""
    if row["answer_after"] == "":
        return html.escape(f"– {row['status']}")
    said = ANSWERS[row["answer_after"]]
    if row["printed_answer_after"] == "":
        return said
    sign, word, colour = MARKS[row["answer_after"] == row["printed_answer_after"]]
    mark = f'<span style="background:{colour};color:#fff;padding:.1em .45em;border-radius:3px">{sign} {word}</span>'
    return f"{said} {mark}"


def _bare(prompt: str) -> str:
    """A prompt without its gap."""
    return prompt.split("___")[0].strip()
