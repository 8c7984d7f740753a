"""Set the tables of two runs side by side: `make compare A=one/results B=other/results` calls this script.

    python scripts/compare_runs.py --first A --second B [--models A_NAME=B_NAME ...] [--output results/comparison.html]

A and B: a results folder of a finished run, a folder that holds `results/`, a report folder, a folder of tables, or
the word `published`. The page holds everything it shows; its tables lie beside it as CSV.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from kn_thesis.errors import UserError
from kn_thesis.report.comparison.compare import compare
from kn_thesis.report.comparison.runs import two_runs
from kn_thesis.report.comparison.summary import headline
from kn_thesis.report.comparison.write import check_output, write_comparison

ROOT = Path(__file__).resolve().parents[1]


def main(given: Sequence[str] | None = None) -> int:
    """Compare, write, say where; 1 after a user's mistake. `given`: arguments in place of the command line's."""
    parser = argparse.ArgumentParser(description="Set the tables of two runs side by side.")
    parser.add_argument("--first", required=True, metavar="A", help="a run's results folder, or `published`")
    parser.add_argument("--second", required=True, metavar="B", help="another's, or `published`")
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        metavar="A_NAME=B_NAME",
        help="compare this model of A with that of B; may be given several times",
    )
    parser.add_argument("--output", type=Path, default=Path("results/comparison.html"), help="the page (.html)")
    arguments = parser.parse_args(given)
    published = yaml.safe_load((ROOT / "resources/published.yaml").read_text(encoding="utf-8"))
    try:
        check_output(arguments.output)
        first, second = two_runs(arguments.first, arguments.second, bool(arguments.models), published)
        comparison = compare(first, second, arguments.models)
        write_comparison(comparison, arguments.output, ROOT / "workflow/report/page.html.j2")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(headline(comparison))
    print(f"The comparison: {arguments.output.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
