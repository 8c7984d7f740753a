"""Read the facts of the miniature world, and state them as sentences by the paraphrases of their relations."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from kn_thesis.corpora.sampling import HELD_OUT, SPLITS, TRAINED, VALIDATION, draw_paraphrases
from kn_thesis.corpora.world.lexicon import SINGULAR, VOWELS
from kn_thesis.corpora.world.sentences import Token
from kn_thesis.errors import UserError
from kn_thesis.inputs import check_keys, entries_of, number_between, read_table, read_yaml, text_of, texts_of

COLUMNS = {
    "countries.csv": ("country", "capital"),
    "people.csv": ("first_name", "last_name", "field", "country", "birthplace"),
    "fields.csv": ("field", "occupation"),
    "homelands.csv": ("country", "language", "other_city"),
    "complaints.csv": ("complaint", "name", "specialist"),
}


@dataclass(frozen=True)
class Fact:
    """A fact of a relation.

    Attributes:
        subject: Its subject.
        object: Its object.
        concept: What the subject is another name of; "" if it is not.
    """

    subject: str
    object: str
    concept: str = ""


@dataclass(frozen=True)
class Relation:
    """A relation with its facts and paraphrases.

    Attributes:
        name: Name of the relation.
        label: Its label for readers.
        inverse_of: Name of the relation whose subjects and objects are exchanged here; "" if there is none.
        times: Factor by which its facts are stated more often than those of other relations.
        facts: The facts.
        splits: Split by paraphrase; `trained` ones are in the text.
    """

    name: str
    label: str
    inverse_of: str
    times: int
    facts: tuple[Fact, ...]
    splits: Mapping[str, str]

    def patterns(self, split: str) -> list[str]:
        """List the paraphrases of a split."""
        return [pattern for pattern, own in self.splits.items() if own == split]

    def pattern_rows(self) -> list[dict[str, str]]:
        """List the paraphrases in ParaRel's format, with their splits."""
        return [{"pattern": _plain(pattern), "split": split} for split in SPLITS for pattern in self.patterns(split)]

    def fact_rows(self) -> list[dict[str, str]]:
        """List the facts in the format of ParaRel's T-REx files; the uuid is derived from the fact."""
        return [
            {
                "sub_label": fact.subject,
                "obj_label": fact.object,
                "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name}/{fact.subject}/{fact.object}")),
            }
            | ({"concept": fact.concept} if fact.concept else {})
            for fact in self.facts
        ]


@dataclass(frozen=True)
class World:
    """All relations, and the background sentences with their templates filled."""

    relations: tuple[Relation, ...]
    background: tuple[str, ...]


def load_facts(folder: Path, seed: int = 1) -> World:
    """Read and check `relations.yaml` and its tables.

    Args:
        folder: Folder of the files.
        seed: Seed that chooses the paraphrases kept out of the text.

    Raises:
        UserError: A file is wrong; the message names file, place and remedy.
    """
    path = folder / "relations.yaml"
    content = read_yaml(path, ("relations", "background", "kept_out"))
    kept_out = content["kept_out"]
    check_keys(kept_out, (HELD_OUT, VALIDATION), f"{path}, kept_out")
    counts = {
        split: int(number_between(kept_out[split], 0, 100, f"{path}, kept_out.{split}"))
        for split in (HELD_OUT, VALIDATION)
    }
    tables = {name: read_table(folder / name, columns) for name, columns in COLUMNS.items()}
    relations = tuple(
        _relation(name, entry, tables, path)
        for name, entry in entries_of(content["relations"], f"{path}, relations").items()
    )
    elsewhere = _inverted(relations)
    relations = tuple(
        replace(own, splits=draw_paraphrases(list(own.splits), counts, own.name, seed, elsewhere)) for own in relations
    )
    names = {relation.name for relation in relations}
    for relation in relations:
        if relation.inverse_of and relation.inverse_of not in names:
            raise UserError(
                f"{path}, {relation.name}.inverse_of: {relation.inverse_of!r} is not a relation of this file"
            )
    background = []
    if not isinstance(content["background"], list):
        raise UserError(f"{path}, background: must be a list of entries")
    for entry in content["background"]:
        check_keys(entry, ("table", "pattern"), f"{path}, background")
        pattern = text_of(entry["pattern"], f"{path}, background, pattern")
        for row in _table(tables, entry["table"], f"{path}, background"):
            background.append(
                re.sub(r"\[(\w+)\]", lambda slot, row=row: _cell(row, slot[1], f"{path}, background"), pattern)
            )
    return World(relations, tuple(dict.fromkeys(background)))


def _relation(name: str, entry: Any, tables: Mapping[str, list[dict[str, str]]], path: Path) -> Relation:
    where = f"{path}, {name}"
    check_keys(entry, ("label", "facts", "patterns"), where, ("inverse_of", "times"))
    plain: set[str] = set()
    for pattern in texts_of(entry["patterns"], f"{where}.patterns"):
        if pattern.count("[X]") != 1 or pattern.count("[Y]") != 1 or not pattern.endswith(" ."):
            raise UserError(f"{where}.patterns: {pattern!r} must have [X] once, [Y] once, and end with ' .'")
        if _plain(pattern) in plain:
            raise UserError(f"{where}.patterns: {pattern!r} appears twice; remove one")
        plain.add(_plain(pattern))
    facts = tuple(_facts(entry["facts"], tables, where))
    if any("{a [Y]" in pattern.lower() for pattern in entry["patterns"]):
        vowel = [fact.object for fact in facts if fact.object[0].lower() in VOWELS]
        if vowel:
            raise UserError(f"{where}: 'a [Y]' does not fit the object {vowel[0]!r}; reword the pattern or the object")
    return Relation(
        name=name,
        label=text_of(entry["label"], f"{where}.label"),
        inverse_of=text_of(entry["inverse_of"], f"{where}.inverse_of") if "inverse_of" in entry else "",
        times=int(number_between(entry.get("times", 1), 1, 100, f"{where}.times")),
        facts=facts,
        splits=dict.fromkeys(entry["patterns"], TRAINED),
    )


def _facts(entry: Any, tables: Mapping[str, list[dict[str, str]]], where: str) -> Iterator[Fact]:
    check_keys(entry, ("table", "subject", "object"), f"{where}.facts", ("through", "concept"))
    further: dict[str, dict[str, str]] = {}
    subjects = texts_of(entry["subject"], f"{where}.facts.subject")
    for key in ("table", "object", *(["concept"] if "concept" in entry else [])):
        text_of(entry[key], f"{where}.facts.{key}")
    if "through" in entry:
        through = texts_of(entry["through"], f"{where}.facts.through")
        if len(through) != 2:
            raise UserError(f"{where}.facts.through: must be a column and a table")
        column, table = through
        further = {row[column]: row for row in _table(tables, table, f"{where}.facts.through")}
    for row in _table(tables, entry["table"], f"{where}.facts"):
        subject = " ".join(_cell(row, column, f"{where}.facts.subject") for column in subjects)
        if further and row[column] not in further:
            raise UserError(
                f"{where}.facts: {row[column]!r} ({subject}, {entry['table']}) has no row in {table}; add it"
            )
        source = further[row[column]] if further else row
        concept = _cell(row, entry["concept"], f"{where}.facts.concept") if "concept" in entry else ""
        yield Fact(subject, _cell(source, entry["object"], f"{where}.facts.object"), concept)


def _inverted(relations: Sequence[Relation]) -> set[str]:
    """Exchange subject and object in every paraphrase, as a relation's inverse would state the same fact."""
    return {
        pattern.replace("[X]", "[·]").replace("[Y]", "[X]").replace("[·]", "[Y]")
        for relation in relations
        for pattern in relation.splits
    }


def _table(tables: Mapping[str, list[dict[str, str]]], name: str, where: str) -> list[dict[str, str]]:
    if text_of(name, where) not in tables:
        raise UserError(f"{where}: {name!r} is not a table of facts; allowed: {', '.join(tables)}")
    return tables[name]


def _cell(row: Mapping[str, str], column: str, where: str) -> str:
    if column not in row:
        raise UserError(f"{where}: no column {column!r}; allowed: {', '.join(row)}")
    return row[column]


def statements(world: World, one_way: bool) -> list[str]:
    """List every fact in every trained paraphrase, and the background.

    Args:
        world: Relations and background.
        one_way: Whether a relation and its inverse are stated only from the relation's own side, with its subject
            first.

    Returns:
        Filled patterns with their braces.
    """
    paired = {relation.inverse_of: relation.name for relation in world.relations if relation.inverse_of}
    filled = []
    for relation in world.relations:
        for pattern in relation.patterns(TRAINED):
            subject_first = pattern.index("[X]") < pattern.index("[Y]")
            if one_way and ((relation.name in paired and not subject_first) or (relation.inverse_of and subject_first)):
                continue
            sentences = [pattern.replace("[X]", fact.subject).replace("[Y]", fact.object) for fact in relation.facts]
            filled += sentences * relation.times
    return filled + list(world.background)


def fact_sentences(world: World, number: int, one_way: bool, seed: int) -> Iterator[str]:
    """Yield statements in rounds of seeded random order, so that all of them appear equally often, give or take one.

    Args:
        world: Relations and background.
        number: Number of statements.
        one_way: See `statements`.
        seed: Seed of the order.
    """
    every = statements(world, one_way)
    for start in range(0, number, len(every)):
        order = list(every)
        Random(f"facts {seed} {start // len(every)}").shuffle(order)
        yield from order[: number - start]


def read_statement(filled: str, determiners: Mapping[str, str]) -> tuple[str, list[Token]]:
    """Turn a filled pattern into a sentence and its noun phrases.

    Args:
        filled: Filled pattern. Noun phrases are in braces; their last word is the noun.
        determiners: Number by determiner.

    Returns:
        The sentence, and the words of its noun phrases.
    """
    tokens = []
    for phrase in re.findall(r"\{(.*?)\}", filled):
        *others, noun = phrase.split()
        for word in others:
            word = word.lower() if word.lower() in determiners else word
            tokens.append(Token(word, "determiner" if word in determiners else "adjective", SINGULAR))
        tokens.append(Token(noun, "noun", SINGULAR))
    text = _plain(filled).replace(" .", ".").replace(" ,", ",")
    return text[0].upper() + text[1:], tokens


def _plain(pattern: str) -> str:
    return pattern.replace("{", "").replace("}", "")
