"""Files of settings as plain data: nothing in them is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kn_thesis.errors import UserError

PROGRAM = "__use_yte__"


def read_data(path: str | Path) -> Any:
    """A YAML or JSON file as plain data (an empty one as an empty mapping).

    Snakemake's own reader takes a file with the key `__use_yte__` for a program of expressions, and knows more tags.
    Raises UserError, one line, for such a file and for one that cannot be read.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as plain data: {' '.join(str(error).split())[:300]}") from error
    if isinstance(content, dict) and PROGRAM in content:
        raise UserError(f"{path}: {PROGRAM}: a study is data and no program: write values in place of expressions")
    return {} if content is None else content
