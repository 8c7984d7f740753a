"""Compare the tables of two runs; `make compare A=one/results B=other/results` calls this script.

    python scripts/tools/compare_runs.py --first A --second B [--models A_NAME=B_NAME ...] [--output FILE.html]

A and B are each the results folder of a finished run, a folder that holds `results/`, a report folder, a folder of
tables, or the word `published`. The page needs no other file. Its tables lie beside it as CSV.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

import _path  # noqa: F401
from kn_thesis.errors import UserError
from kn_thesis.report.comparison.compare import compare
from kn_thesis.report.comparison.page import check_output, headline, write_comparison
from kn_thesis.report.comparison.runs import two_runs

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two runs and write the page.

    Args:
        arguments: arguments to use in place of the command line's.

    Returns:
        The exit status: 1 after a user's mistake, else 0.
    """
    parser = argparse.ArgumentParser(description="Compare the tables of two runs.")
    parser.add_argument("--first", required=True, metavar="A", help="a run's results folder, or `published`")
    parser.add_argument("--second", required=True, metavar="B", help="another run's, or `published`")
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        metavar="A_NAME=B_NAME",
        help="compare this model of A with that model of B; repeat the option for more pairs",
    )
    parser.add_argument("--output", type=Path, default=Path("results/comparison.html"), help="the page (.html)")
    options = parser.parse_args(arguments)
    published = yaml.safe_load((ROOT / "resources/published.yaml").read_text(encoding="utf-8"))
    try:
        check_output(options.output)
        first, second = two_runs(options.first, options.second, bool(options.models), published)
        comparison = compare(first, second, options.models)
        write_comparison(comparison, options.output, ROOT / "workflow/report/page.html.j2")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(headline(comparison))
    print(f"Comparison: {options.output.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
