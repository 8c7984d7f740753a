"""Which answers of two synonymous relations correspond (resources/synonyms.csv): of physics, a physicist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kn_thesis.corpora.resources import read_table
from kn_thesis.errors import UserError

COLUMNS = ("relation", "object", "synonym", "synonym_object")


def load_synonyms(path: str | Path) -> Mapping[str, Mapping[str, str]]:
    """An object's counterpart in the synonymous relation, by relation and object.

    Raises UserError for a file that is missing or broken, an empty cell, an object that comes twice in a relation, and
    a relation with more than one synonym.
    """
    path = Path(path)
    found: dict[str, dict[str, str]] = {}
    synonyms: dict[str, str] = {}
    for line, row in enumerate(read_table(path, COLUMNS, key=("relation", "object")), start=2):
        where = f"{path}, line {line}"
        empty = next((name for name in COLUMNS if not row[name]), None)
        if empty:
            raise UserError(f"{where}: {empty!r} is empty: fill it in, or remove the line")
        relation, synonym = row["relation"], row["synonym"]
        if synonyms.setdefault(relation, synonym) != synonym:
            raise UserError(f"{where}: {relation} is {synonyms[relation]}'s synonym above, not {synonym}'s: keep one")
        found.setdefault(relation, {})[row["object"]] = row["synonym_object"]
    return found
