"""Read the configuration files of a command line before Snakemake does: `make study` calls this script with its ARGS.

Snakemake reads them before any code of a study runs: it ends in a traceback where one is missing, and it takes a file
with the key `__use_yte__` for a program. Here such a file is one line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kn_thesis.configuration.layers import read_layer
from kn_thesis.errors import UserError


def main(given: Sequence[str] | None = None) -> int:
    """1 after a line on each file that cannot be read, else 0. `given`: arguments in place of the command line's."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[])
    wrong = 0
    for path in parser.parse_known_args(given)[0].configfile:
        try:
            read_layer(path)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
