"""Build the provenance page: everything a reader needs to reproduce, or to doubt, the numbers of a study."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from kn_thesis.report.provenance import COLUMNS, say_project, setting_text
from kn_thesis.report.show import figure_html, table_html
from kn_thesis.report.style import save_figure, use_style

COLOURS = {
    "corpora": "#56B4E9",
    "models": "#0072B2",
    "localization": "#009E73",
    "suppression": "#E69F00",
    "tracing": "#CC79A7",
    "editing": "#D55E00",
    "report": "#6B7280",
}
MAX_BARS = 12  # the remaining rules share one more bar
SOURCES = {"train": "trained by the workflow", "hub": "the hub", "path": "a folder"}
OPENING = (
    "What was run, with which settings, on which data, and how long it took. "
    "<code>results/provenance.json</code> holds the same facts for programs. "
    "<code>snakemake --rulegraph</code> prints how the rules depend on each other."
)
HEADS = ["rule", "chapter", "jobs", "total wall time (s)", "longest job (s)", "largest memory (MiB)"]


def provenance_html(facts: Mapping[str, Any]) -> str:
    """Write the body of the provenance page.

    Args:
        facts: what provenance.json holds (`report.provenance.provenance_facts`).

    Returns:
        The body as HTML.
    """
    software = {"Python": facts["machine"]["python"]} | facts["packages"]
    machine = {name: facts["machine"][name] for name in ("system", "processor", "cpus")}
    run = {"study": facts["study"], "commit": say_project(facts["project"])}
    parts = [
        "<h1>Provenance</h1>",
        _paragraph(OPENING),
        _heading("run", "What was run"),
        _pairs(run, "project", "The study, and the version of the project that ran it."),
        _heading("settings", "Settings"),
        _pairs(facts["configuration"], "configuration", "The whole configuration, defaults included."),
        _pairs(
            facts["seeds"],
            "seeds",
            "Every seed in the configuration. All randomness in the study comes from these seeds.",
        ),
        _heading("data", "Data"),
        *_data(facts),
        _heading("models", "Models"),
        _models(facts["models"]),
        _heading("software", "Software and machine"),
        _pairs(
            software, "packages", "Versions of the packages installed where this page was made.", "package", "version"
        ),
        _pairs(machine, "machine", "The machine that made this page."),
        _heading("time", "Time and memory"),
        *_times(facts["timings"]),
    ]
    return "".join(parts)


def _data(facts: Mapping[str, Any]) -> list[str]:
    """Tables of fetched files, of training texts that the workflow wrote, and of resources that people wrote."""
    if facts["fetched"]:
        fetched = _table(
            facts["fetched"], "fetched", "Files of the public corpora. A file with a different checksum is rejected."
        )
    else:
        fetched = _paragraph("Nothing was fetched: the workflow itself writes this study's corpora.")
    if facts["texts"]:
        texts = _table(facts["texts"], "texts", "Training texts, written by the workflow.")
    else:
        texts = _paragraph("No text was written for training: all models existed already.")
    resources = _table(facts["resources"], "resources", "Files that people wrote and the workflow reads.")
    return [fetched, texts, resources]


def _models(models: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        {
            "model": name,
            "family": facts["family"],
            "source": facts["hub_id"] or SOURCES[facts["source"]],
            "parameters": "" if facts["parameters"] is None else f"{facts['parameters']:,}",
            "revision": facts["revision"] or "",
            "sha256 of the weights": facts["weights_sha256"] or "",
        }
        for name, facts in models.items()
    ]
    caption = (
        "Where each model comes from. A revision identifies a model of the hub, the checksum of its weights any "
        "other model."
    )
    return _table(rows, "model-revisions", caption)


def _times(timings: Sequence[Mapping[str, Any]]) -> list[str]:
    table = pd.DataFrame(list(timings), columns=COLUMNS)
    formats = dict.fromkeys(("total wall time (s)", "longest job (s)"), ",.1f") | {"largest memory (MiB)": ",.0f"}
    summary = table_html(
        table.set_axis(HEADS, axis=1),
        "timings",
        "Time and memory of each rule's jobs. Jobs run in parallel, so the study took less time than the sum. The "
        "rules that make this page and the archive are not listed. Memory is resident memory.",
        formats,
        download=False,
    )
    parts = [_paragraph(html.escape(say_benchmarks(table)))]
    if len(table):
        parts.append(_bars(table))
    return [*parts, summary]


def _bars(table: pd.DataFrame) -> str:
    """The bars, inside the page only: their lengths differ from run to run, so no figure file is kept."""
    use_style()
    with tempfile.TemporaryDirectory() as folder:
        svg = Path(folder, "timings.svg")
        save_figure(plot_benchmarks(table, COLOURS), svg, svg.with_suffix(".png"))
        return figure_html(svg, "Bars: total wall time of each rule", "Total wall time of the rules that took longest.")


def _heading(anchor: str, text: str) -> str:
    return f'<h2 id="{anchor}">{text}</h2>'


def _paragraph(text: str) -> str:
    return f"<p>{text}</p>"


def _pairs(values: Mapping[str, Any], name: str, caption: str, key: str = "key", value: str = "value") -> str:
    rows = [{key: left, value: setting_text(right)} for left, right in values.items()]
    return _table(rows, name, caption)


def _table(rows: Sequence[Mapping[str, Any]], name: str, caption: str) -> str:
    return table_html(pd.DataFrame(list(rows)), name, caption, download=False)


def say_benchmarks(table: pd.DataFrame) -> str:
    """Say how many jobs have a timing, and their total time; `table` is from `summarise_benchmarks`."""
    jobs = int(table["jobs"].sum())
    return f"{jobs:,} {'job has' if jobs == 1 else 'jobs have'} a timing; together: {duration(table['total_s'].sum())}."


def duration(seconds: float) -> str:
    """Write seconds in words: `2 h 5 min`, `3 min 20 s`, `41 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def plot_benchmarks(table: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Draw the total wall time of the rules that took longest as bars; all other rules share one bar.

    Args:
        table: from `summarise_benchmarks`.
        colours: a colour by chapter.

    Returns:
        The figure.
    """
    bars = [(row.rule.replace("_", " "), row.total_s, row.chapter) for row in table.head(MAX_BARS).itertuples()]
    if len(table) > MAX_BARS:
        bars.append((f"{len(table) - MAX_BARS} other rules", table["total_s"].iloc[MAX_BARS:].sum(), None))
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.29 * len(bars)))
    places = range(len(bars))
    axis.barh(places, [bar[1] for bar in bars], color=[colours.get(bar[2], "#B8BEC8") for bar in bars], height=0.72)
    for place, (_, seconds, _) in enumerate(bars):
        axis.annotate(duration(seconds), (seconds, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axis.set_yticks(list(places), [bar[0] for bar in bars], fontsize=10)
    axis.set_xlabel("total wall time (s)", fontsize=10)
    axis.tick_params(axis="x", labelsize=9)
    axis.margins(x=0.12)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    chapters = [chapter for chapter in colours if chapter in {bar[2] for bar in bars}]
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[chapter]) for chapter in chapters]
    figure.legend(handles, chapters, loc="outside lower center", ncols=max(1, len(chapters)), frameon=False, fontsize=9)
    return figure
