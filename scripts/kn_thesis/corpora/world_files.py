"""A world's files: text, counts, pairs in BLiMP's format, facts in ParaRel's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kn_thesis.corpora.world import World, company_rows
from kn_thesis.files import whole_file


def write_world(world: World, folder: Path) -> None:
    """Write `text.txt`, `cooccurrence.parquet`, `paradigms/*.jsonl` and `relations/*.{patterns,facts}.jsonl`."""
    import pandas as pd

    with whole_file(folder / "text.txt") as path:
        path.write_text("\n".join(world.text) + "\n", encoding="utf-8")
    with whole_file(folder / "cooccurrence.parquet") as path:
        pd.DataFrame(company_rows(world.company)).to_parquet(path, index=False)
    for name, pairs in world.pairs.items():
        _write_lines(folder / "paradigms" / f"{name}.jsonl", pairs)
    for relation in world.relations:
        _write_lines(folder / "relations" / f"{relation.name}.patterns.jsonl", relation.pattern_rows())
        _write_lines(folder / "relations" / f"{relation.name}.facts.jsonl", relation.fact_rows())


def _write_lines(target: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with whole_file(target) as path:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
