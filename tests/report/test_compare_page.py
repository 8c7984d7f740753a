"""The script as a user calls it: the page, its tables, and a one-line message for every mistake."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from compare_runs import main
from kn_thesis.report.comparison.compare import compare
from kn_thesis.report.comparison.page import headline
from kn_thesis.report.comparison.runs import two_runs
from tests.helpers.compared_runs import ROOT, call, cooccurrence_table, models_table, write_run


@pytest.fixture()
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that differ in one row of each table."""
    a = write_run(tmp_path / "a", models=models_table([90] * 10), cooccurrence=cooccurrence_table([0.9] + [0.1] * 9))
    b = write_run(
        tmp_path / "b", models=models_table([20] + [90] * 9), cooccurrence=cooccurrence_table([-0.9] + [0.1] * 9)
    )
    (a / "report").mkdir()
    (a / "report/index.html").write_text("<h1>report</h1>")
    return a, b


def test_the_page_and_its_tables(runs: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "comparison.html"
    done = call(*runs, output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"Comparison: {output}"
    page = output.read_text()
    assert "Of 20 measured values in both, 18 identical and 2 differ after Holm's correction." in html.unescape(page)
    assert page.index("What differs") < page.index("How differences were tested") < page.index('id="cooccurrence"')
    assert "sign changes: + → −" in page and "2·1.96" in page
    assert set(re.findall(r'<figure[^>]* id="figure-(\w+)"', page)) == {"models_accuracy", "cooccurrence_slope"}
    # One file: figures are embedded, and every link leads to a file beside it.
    assert all(source.startswith("data:") for source in re.findall(r'<img[^>]*src="([^"]+)"', page))
    links = [link for link in re.findall(r'<a [^>]*href="([^"#]+)', page) if link != "comparison.html"]
    assert {"comparison/models.csv", "comparison/summary.csv", "a/report/index.html"} <= set(links)
    assert all((tmp_path / link).is_file() for link in links)
    table = pd.read_csv(tmp_path / "comparison/cooccurrence.csv")
    assert len(table) == 10 and table.loc[0, ["A", "B", "verdict"]].tolist() == [0.9, -0.9, "differs"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "comparison", "comparison.html"]


def test_the_same_runs_give_the_same_bytes_and_old_tables_go(runs: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert call(*runs, output).returncode == 0
    first = output.read_bytes()
    assert call(*runs, output).returncode == 0
    assert output.read_bytes() == first
    (runs[1] / "tables/cooccurrence.csv").unlink()
    assert call(*runs, output).returncode == 0
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["cells.csv", "models.csv", "summary.csv"]
    assert "Tables only in A: cooccurrence." in output.read_text()


def test_a_column_that_is_no_measure_is_not_passed_over(tmp_path: Path) -> None:
    table = models_table([90] * 10).assign(probability=0.5)
    a, b = (write_run(tmp_path / name, models=table.assign(rank=rank)) for name, rank in (("a", 1), ("b", 2)))
    assert main(["--first", str(a), "--second", str(b), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "All 10 measured values are identical. 10 cells of other columns differ: rank." in page
    assert "<img" not in page
    assert "index.html" not in page and "Overview" not in page, "there is no report to go back to"


def test_names_of_tables_and_models_are_escaped(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", models=models_table([90] * 10, "<b>one"))
    b = write_run(tmp_path / "b", models=models_table([20] * 10, "<b>two"))
    assert call(a, b, tmp_path / "page.html").returncode == 0
    page = (tmp_path / "page.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;one / &lt;b&gt;two" in page


@pytest.mark.parametrize("layout", ["results", "holds results", "tables", "report"])
def test_a_run_may_be_named_by_any_of_its_folders(runs: tuple[Path, Path], tmp_path: Path, layout: str) -> None:
    shutil.copytree(runs[0], tmp_path / "whole/results")
    shutil.copytree(runs[0] / "tables", tmp_path / "mailed report/tables")
    named = {
        "results": "whole/results",
        "holds results": "whole",
        "tables": "whole/results/tables",
        "report": "mailed report",
    }
    comparison = compare(*two_runs(str(tmp_path / named[layout]), str(runs[1]), False, {}))
    assert headline(comparison).startswith("Of 20 measured values in both, 18 identical and 2 differ")


def _empty(a: Path, b: Path) -> list[str]:
    shutil.rmtree(b / "tables")
    return []


def _no_key(a: Path, b: Path) -> list[str]:
    models_table([90] * 10).drop(columns="task").to_csv(b / "tables/models.csv", index=False)
    return []


def _unreadable(a: Path, b: Path) -> list[str]:
    (b / "tables/models.csv").write_text('model,task\n"bert')
    return []


def _binary(a: Path, b: Path) -> list[str]:
    (b / "tables/models.csv").write_bytes(b"\xff\xfe\x00\x01")
    return []


def _zero_bytes(a: Path, b: Path) -> list[str]:
    (b / "tables/models.csv").write_bytes(b"")
    return []


def _words(a: Path, b: Path) -> list[str]:
    models_table([90] * 10).assign(correct="many").to_csv(b / "tables/models.csv", index=False)
    return []


def _same(a: Path, b: Path) -> list[str]:
    return ["--second", str(a / "tables")]


def _nowhere(a: Path, b: Path) -> list[str]:
    return ["--second", str(a / "nowhere")]


def _unnamed(a: Path, b: Path) -> list[str]:
    return ["--second", ""]


def _no_such_model(a: Path, b: Path) -> list[str]:
    return ["--models", "bert=gpt5"]


def _no_pair(a: Path, b: Path) -> list[str]:
    return ["--models", "bert"]


def _other_folder(a: Path, b: Path) -> list[str]:
    return ["--output", f"{a}.html"]


def _no_page(a: Path, b: Path) -> list[str]:
    return ["--output", str(a.parent / "comparison")]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_empty, "no tables"),
        (_no_key, "the column task is missing"),
        (_unreadable, "not a readable CSV table"),
        (_binary, "not a readable CSV table"),
        (_zero_bytes, "not a readable CSV table"),
        (_words, "the column correct does not hold numbers"),
        (_same, "are the same folder"),
        (_nowhere, "there is no such folder"),
        (_unnamed, "usage: make compare A="),
        (_no_such_model, "has no model gpt5, but bert"),
        (_no_pair, "write the first run's model"),
        (_other_folder, "which holds something else"),
        (_no_page, "name an HTML file"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path, Path], list[str]],
    said: str,
) -> None:
    arguments = ["--first", str(runs[0]), "--second", str(runs[1]), "--output", str(tmp_path / "page.html")]
    arguments += spoil(*runs)  # later options take precedence
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert not printed.out and printed.err.count("\n") == 1
    assert printed.err.startswith("error: ") and said in printed.err, printed.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_shell_sees_a_mistake_without_a_traceback(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = call(runs[0], tmp_path / "nowhere", tmp_path / "page.html")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_make_calls_this_script_and_says_how_it_is_used(runs: tuple[Path, Path], tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("A", "B") and not name.startswith("MAKE")
    }

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", "compare", f"VENV={tmp_path}", *arguments]
        return subprocess.run(command, text=True, capture_output=True, env=environment, cwd=ROOT)

    (tmp_path / "installed").touch()
    os.utime(tmp_path / "installed", (2**32, 2**32))  # newer than the lock: nothing needs to be installed
    recipe = make("A=one", "B=published", "ARGS=--models bert=bert-swapped", "--dry-run").stdout
    assert recipe.splitlines()[-1] == (
        f'{tmp_path}/bin/python scripts/tools/compare_runs.py --first "one" --second "published" '
        "--models bert=bert-swapped"
    )
    for missing in ((), ("A=one",), ("B=published",)):
        done = make(*missing)
        assert done.returncode != 0 and done.stderr.startswith("usage: make compare A="), done.stderr
