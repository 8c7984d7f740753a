"""Times of rules from Snakemake's benchmark files, also missing, damaged, repeated, or from other studies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pytest

from kn_thesis.report.provenance import read_benchmark, summarise_benchmarks, timed_rules
from kn_thesis.report.provenance_page import duration, plot_benchmarks, say_benchmarks
from kn_thesis.report.style import use_style

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write(file: Path, *rows: tuple[str, str]) -> None:
    """A benchmark file with a row per pair of wall time and memory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD + "".join(f"{s}\t0:00:00\t{rss}\t1.0\t-\t-\t0\t0\t0\t0\n" for s, rss in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "results/benchmarks/train/a.tsv", ("10.5", "300.25"))
    write(tmp_path / "results/benchmarks/train/b.tsv", ("30.25", "NA"))
    write(tmp_path / "results/benchmarks/train/of_another_study.tsv", ("9000", "9000"))
    write(tmp_path / "results/benchmarks/check.tsv", ("0.2", "-"))
    write(tmp_path / "results/benchmarks/pack.tsv", ("7", "7"))
    write(tmp_path / "results/benchmarks/edit/a/rome/1-of-2.tsv", ("2", "20"))
    write(tmp_path / "results/benchmarks/edit/a/rome/2-of-2.tsv", ("3", "10"))
    write(tmp_path / "results/benchmarks/edit/a/rome/of_another_study.tsv", ("9000", "9000"))
    return tmp_path


class Rule(NamedTuple):
    """The attributes of a Snakemake rule that are read."""

    snakefile: str
    benchmark: str | None


def rules() -> list[Rule]:
    below = "results/benchmarks"
    return [
        Rule("/workflow/Snakefile", None),
        Rule("/workflow/rules/models.smk", f"{below}/check.tsv"),
        Rule("/workflow/rules/models.smk", f"{below}/train/{{model,a|b}}.tsv"),
        Rule("/workflow/rules/report.smk", f"{below}/pack.tsv"),
        Rule("/workflow/rules/editing.smk", f"{below}/edit/{{model}}/rome/{{batch}}.tsv"),
    ]


SHARDS = [{"model": "a", "batch": f"{number}-of-2"} for number in (1, 2)]
RULES = timed_rules(rules(), {"model": ["a", "b", "c"]}, {"edit": SHARDS}, without=["pack"])


def test_rules_of_batches_are_one_and_known_wildcards_are_filled_in() -> None:
    assert [(rule["name"], rule["chapter"]) for rule in RULES] == [
        ("check", "models"),
        ("edit", "editing"),
        ("train", "models"),
    ]
    assert [rule["benchmarks"] for rule in RULES] == [
        ["results/benchmarks/check.tsv"],
        ["results/benchmarks/edit/a/rome/1-of-2.tsv", "results/benchmarks/edit/a/rome/2-of-2.tsv"],
        [f"results/benchmarks/train/{model}.tsv" for model in "abc"],
    ]


def test_a_row_per_rule_of_this_study_s_own_jobs(folder: Path) -> None:
    table = summarise_benchmarks(RULES, folder).set_index("rule")
    assert list(table.index) == ["train", "edit", "check"]
    assert table.loc["train"].tolist() == ["models", 2, 40.75, 30.25, 300.25]
    assert table.loc["edit", ["jobs", "total_s"]].tolist() == [2, 5]
    assert table.loc["check", "jobs"] == 1 and math.isnan(table.loc["check", "memory_MiB"])


def test_what_is_said_of_timings(folder: Path) -> None:
    assert say_benchmarks(summarise_benchmarks(RULES, folder)) == "5 jobs have a timing; together: 46 s."
    assert say_benchmarks(summarise_benchmarks(RULES[:1], folder)) == "1 job has a timing; together: 0 s."
    assert say_benchmarks(summarise_benchmarks(RULES, folder / "nowhere")) == "0 jobs have a timing; together: 0 s."


@pytest.mark.parametrize(
    "content",
    ["", HEAD, "nothing\tof the kind\n1\t2\n", HEAD + "-\t-\t-\n", HEAD + "NA\t-\t5\n", HEAD + "inf\t-\t5\n",
     HEAD + "-3\t-\t5\n"],
    ids=["empty", "head only", "other columns", "dash", "NA", "infinite", "negative"],
)  # fmt: skip
def test_a_damaged_file_is_no_timing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "one.tsv"
    file.write_text(content)
    assert read_benchmark(file) is None
    assert read_benchmark(tmp_path / "nowhere.tsv") is None


def test_what_was_measured_twice_adds_up(tmp_path: Path) -> None:
    write(tmp_path / "one.tsv", ("1.5", "10"), ("2.5", "30"))
    assert read_benchmark(tmp_path / "one.tsv") == (4.0, 30.0)


def test_memory_of_zero_was_not_measured(tmp_path: Path) -> None:
    write(tmp_path / "one.tsv", ("0.25", "0.00"))
    seconds, memory = read_benchmark(tmp_path / "one.tsv") or (0, 0)
    assert seconds == 0.25 and math.isnan(memory)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_bars_hold_all_the_time_there_is(folder: Path) -> None:
    train = RULES[2]["benchmarks"]
    many = [{"name": f"rule_{number}", "chapter": "models", "benchmarks": train} for number in range(20)] + RULES
    table = summarise_benchmarks(many, folder)
    use_style()
    figure = plot_benchmarks(table, {"models": "#123456"})
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert sum(widths) == pytest.approx(table["total_s"].sum()) and len(widths) == 13
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "11 other rules"
    plt.close(figure)
