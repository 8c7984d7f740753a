"""What rules took, read from Snakemake's benchmark files: missing, damaged, measured twice, of other studies."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from kn_thesis.report.benchmarks import duration, plot_benchmarks, read_benchmark, say_benchmarks, summarise_benchmarks
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
    return tmp_path


def rule(name: str, *files: str) -> dict[str, object]:
    benchmarks = [f"results/benchmarks/{file}.tsv" for file in files]
    return {"name": name, "chapter": "models", "jobs": len(files), "benchmarks": benchmarks}


RULES = [rule("check", "check"), rule("pack", "pack"), rule("train", "train/a", "train/b", "train/c"),
         rule("wait", "wait/x")]  # fmt: skip


def test_a_row_per_rule_of_this_study_s_own_jobs(folder: Path) -> None:
    table = summarise_benchmarks(RULES, folder, without=["pack"]).set_index("rule")
    assert list(table.index) == ["train", "check", "wait"]
    assert table.loc["train", ["jobs", "timed", "total_s", "longest_s", "memory_MiB"]].tolist() == [
        3,
        2,
        40.75,
        30.25,
        300.25,
    ]
    assert table.loc["check", "timed"] == 1 and math.isnan(table.loc["check", "memory_MiB"])
    assert table.loc["wait", "timed"] == 0 and table.loc["wait", "total_s"] == 0
    assert math.isnan(table.loc["wait", "longest_s"])


def test_jobs_without_a_timing_are_counted_and_named(folder: Path) -> None:
    said = say_benchmarks(summarise_benchmarks(RULES, folder, without=["pack"]))
    assert said.startswith("3 of 5 jobs have a timing; together they took 41 s.")
    assert "2 have none" in said and "train (1), wait (1)" in said and "check" not in said


def test_nothing_is_said_of_missing_timings_when_there_are_none(folder: Path) -> None:
    assert say_benchmarks(summarise_benchmarks(RULES[:1], folder)) == (
        "1 of 1 jobs have a timing; together they took 0 s."
    )


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
    many = [rule(f"rule_{number}", "train/a") for number in range(20)] + RULES
    table = summarise_benchmarks(many, folder)
    use_style()
    figure = plot_benchmarks(table, {"models": "#123456"})
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert sum(widths) == pytest.approx(table["total_s"].sum()) and len(widths) == 13
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "11 other rules"
    plt.close(figure)
