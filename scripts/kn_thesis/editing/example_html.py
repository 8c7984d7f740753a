"""Completions before and after edits for the report, as on the authors' poster: HTML and sentences.

The HTML needs no other file. `completions_html` shows the edits of editing_completions.csv, `examples_html` and
`say_examples` the example edits of editing_examples.csv.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pandas as pd

from kn_thesis.editing.labels import (
    criterion_words,
    editor_words,
    editors_of,
    is_true,
    list_words,
    models_of,
    select_rows,
    unique_values,
)
from kn_thesis.editing.tables import EDITED

if TYPE_CHECKING:
    from IPython.display import HTML


# Each has a sign and a word, so that colour alone tells nothing.
COMPLETION_MARKS = {"True": ("✓", "right", "#00795a"), "False": ("✗", "wrong", "#b3261e")}
MARKS = {True: ("✓", "as printed", "#00795a"), False: ("✗", "differs", "#b3261e")}
COLUMNS = ("criterion", "prompt", "before", "after", "the edit asks for", "met")
COMPLETION_CELL = 'style="white-space:normal;min-width:12rem"'
WRAPPED = 'style="white-space:normal;min-width:10rem"'
ANSWERS = {"old": "the old answer", "new": "the new answer", "neither": "neither answer"}
GAP = "___"


def completions(data: pd.DataFrame, caption: str) -> HTML:
    """`completions_html` for a notebook."""
    from IPython.display import HTML

    return HTML(completions_html(data, caption))


def completions_html(data: pd.DataFrame, caption: str) -> str:
    """Write the completions as HTML: a section to open for each model and editor, with a block of rows per edit.

    Args:
        data: editing_completions.csv.
        caption: of the table.
    """
    link = '<a href="tables/editing_completions.csv" download>CSV</a>'
    text = f'<p id="table-editing_completions">{html.escape(caption)} {link}</p>'
    parts = [
        _completion_part(model, editor, select_rows(data, model=model, editor=editor), first=not number)
        for number, (model, editor) in enumerate(
            (model, editor) for model in models_of(data) for editor in editors_of(select_rows(data, model=model))
        )
    ]
    return text + ("".join(parts) or "<p>No completion was kept.</p>")


def _completion_part(model: str, editor: str, rows: pd.DataFrame, first: bool) -> str:
    counts = [
        f"{sign} {word} {(rows['holds'].map(_truth) == name).sum()}"
        for name, (sign, word, _) in COMPLETION_MARKS.items()
    ]
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
    """The block of one edit: a heading that names it, then a row per question."""
    first = rows.iloc[0]
    edited = " · ".join(html.escape(str(part)) for part in (task, first["subject"]))
    change = f"{html.escape(str(first['old']))} → {html.escape(str(first['new']))}"
    head = f"<tr><th colspan='{len(COLUMNS)}' scope='rowgroup'>{edited}: {change}</th></tr>"
    return f"<tbody>{head}{''.join(_question(row) for _, row in rows.iterrows())}</tbody>"


def _question(row: pd.Series) -> str:
    prompt = str(row["question"]).split(GAP)[0].strip()
    negated = row["criterion"] == "symmetry_old"  # `expected` is the word that must be gone
    demand = f"not {row['expected']}" if negated else str(row["expected"])
    cells = [
        criterion_words(str(row["criterion"])),
        f"{prompt}\N{NO-BREAK SPACE}…",
        *(_line(row[name]) for name in ("before", "after")),
    ]
    wide = "".join(f"<td {COMPLETION_CELL}>{html.escape(cell)}</td>" for cell in (*cells[1:], demand)[:3])
    ends = f"<td>{html.escape(demand)}</td><td>{_completion_mark(row['holds'])}</td>"
    return f"<tr><td>{html.escape(cells[0])}</td>{wide}{ends}</tr>"


def _completion_mark(holds: object) -> str:
    if _truth(holds) not in COMPLETION_MARKS:
        return "– not judged"
    sign, word, colour = COMPLETION_MARKS[_truth(holds)]
    return f'<span style="background:{colour};color:#fff;padding:.1em .45em;border-radius:3px">{sign} {word}</span>'


def _truth(value: object) -> str:
    """A truth value as in a CSV file: "True", "False", or something else for an empty cell."""
    return str(value).strip().capitalize()


def _line(text: object) -> str:
    """A continuation in one line, with visible line breaks."""
    return "" if pd.isna(text) else str(text).strip().replace("\n", " ⏎ ")


def say_examples(data: pd.DataFrame) -> list[str]:
    """Write a line per model and editor: the outcome of the examples, and where it differs from the printed one.

    Args:
        data: editing_examples.csv.
    """
    data = _filled(data)
    if data.empty:
        return ["No model of this study goes on with a text and has an editor for it: no example was edited."]
    return [
        f"**{model}, {editor_words(editor)}**: {_outcome(select_rows(data, model=model, editor=editor))}"
        for model in models_of(data)
        for editor in editors_of(select_rows(data, model=model))
    ]


def examples_table(data: pd.DataFrame, caption: str) -> HTML:
    """`examples_html` for a notebook."""
    from IPython.display import HTML

    return HTML(examples_html(data, caption))


def examples_html(data: pd.DataFrame, caption: str) -> str:
    """Write the examples as HTML: a section to open for each model and editor, with a block of rows per example.

    Args:
        data: editing_examples.csv.
        caption: of the table.
    """
    data = _filled(data)
    link = '<a href="tables/editing_examples.csv" download>CSV</a>'
    text = f'<p id="table-editing_examples">{html.escape(caption)} {link}</p>'
    parts = [
        _part(model, editor, select_rows(data, model=model, editor=editor), first=not number)
        for number, (model, editor) in enumerate(
            (model, editor) for model in models_of(data) for editor in editors_of(select_rows(data, model=model))
        )
    ]
    return text + "".join(parts)


def _filled(data: pd.DataFrame) -> pd.DataFrame:
    """The table with empty texts in place of the missing values that a CSV file makes of them."""
    texts = [name for name in data.columns if not name.startswith("p_")]
    return data.assign(**{name: data[name].astype(object).where(data[name].notna(), "") for name in texts})


def _outcome(rows: pd.DataFrame) -> str:
    text = _beside_printed(rows) if rows["printed_after"].ne("").any() else _reached(rows)
    return "; ".join([text, *_exceptions(rows)]) + "."


def _reached(rows: pd.DataFrame) -> str:
    """How often the edited model gives each answer, to the edited prompts and to the others."""
    edited = rows["prompt"] == rows["edited"].map(_bare)
    parts = []
    for name, some in (("edited", rows[edited]), ("further", rows[~edited])):
        counts = [f"{number} with {words}" for kind, words in ANSWERS.items() if (number := _count(some, kind))]
        if counts:
            parts.append(f"{len(some)} {name} prompt{'s' * (len(some) != 1)}, {list_words(counts)}")
    return f"the edited model continues, of {'; of '.join(parts)}" if parts else "nothing was continued after an edit"


def _count(rows: pd.DataFrame, answer: str) -> int:
    return int((rows["answer_after"] == answer).sum())


def _beside_printed(rows: pd.DataFrame) -> str:
    """How many prompts are answered as printed before and after the edit, and which are not after it."""
    printed = rows[rows["printed_after"] != ""]
    source = printed.iloc[0]
    differ = [
        f"*{row.prompt} …* ({ANSWERS.get(row.answer_after, 'nothing')}, printed: {ANSWERS[row.printed_answer_after]})"
        for row in printed.itertuples()
        if row.answer_after != row.printed_answer_after
    ]
    first = rows[rows["printed_before"] != ""]
    same = (first["answer_before"] == first["printed_answer_before"]).sum()
    before = f"before the edit {same} of {len(first)}, " if len(first) else ""
    by = f"{source['printed_model']} with {editor_words(source['printed_editor'])} ({source['printed_source']})"
    text = f"{before}after it {len(printed) - len(differ)} of {len(printed)} prompts are answered as printed of {by}"
    return f"{text}; after it not {list_words(differ)}" if differ else text


def _exceptions(rows: pd.DataFrame) -> list[str]:
    """Examples that could not be edited or continued, and those with another answer before the edit."""
    sentences = []
    for name in unique_values(rows, "example"):
        first = select_rows(rows, example=name).iloc[0]
        reasons = [reason for reason in unique_values(select_rows(rows, example=name), "status") if reason != EDITED]
        sentences += [f"{name}: {reason.rstrip('.')}" for reason in reasons]
        if pd.notna(first["p_old_before"]) and not is_true(pd.Series([first["known"]]))[0]:
            sentences.append(f"before the edit, *{_bare(first['edited'])}* is followed by “{first['says_before']}” and "
                         f"not by “{first['old']}”")  # fmt: skip
    return sentences


def _part(model: str, editor: str, rows: pd.DataFrame, first: bool) -> str:
    printed = rows["printed_after"].ne("").any()
    columns = ["prompt", *(["printed before", "printed after"] if printed else []), "before", "after", "after the edit"]
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    blocks = (_block(select_rows(rows, example=name), printed, len(columns)) for name in unique_values(rows, "example"))
    return (
        f"<details{' open' if first else ''}><summary>{html.escape(model)}, {html.escape(editor_words(editor))}"
        f'</summary><div class="scroll"><table><thead><tr>{head}</tr></thead>{"".join(blocks)}</table></div></details>'
    )


def _block(rows: pd.DataFrame, printed: bool, columns: int) -> str:
    """The block of one example: a heading with the edit and both answers' probabilities, then a row per prompt."""
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
    """The answer after the edit, and whether it is the printed one, if there is one."""
    if row["answer_after"] == "":
        return html.escape(f"– {row['status']}")
    answer = ANSWERS[row["answer_after"]]
    if row["printed_answer_after"] == "":
        return answer
    sign, word, colour = MARKS[row["answer_after"] == row["printed_answer_after"]]
    mark = f'<span style="background:{colour};color:#fff;padding:.1em .45em;border-radius:3px">{sign} {word}</span>'
    return f"{answer} {mark}"


def _bare(prompt: str) -> str:
    """A prompt without its blank."""
    return prompt.split(GAP)[0].strip()
