"""Read the configuration files of a command line before Snakemake does: `make study` calls this script with its ARGS.

Snakemake reads them before any code of a study runs. It ends in a traceback where a file is missing, and runs a file
with the key `__use_yte__` as a program. This script reports such a file in one line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import _path  # noqa: F401
from kn_thesis.configuration.overlays import read_layer
from kn_thesis.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line on each file that cannot be read.

    Args:
        arguments: arguments to use in place of the command line's.

    Returns:
        The exit status: 1 after such a file, else 0.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[])
    status = 0
    for path in parser.parse_known_args(arguments)[0].configfile:
        try:
            read_layer(path)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
