"""Read the words of the miniature world: nouns, verbs, adjectives, names, determiners and number-biased words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kn_thesis.errors import UserError
from kn_thesis.inputs import number_between, one_of, read_table

SINGULAR, PLURAL = "singular", "plural"
VOWELS = "aeiou"


@dataclass(frozen=True)
class Noun:
    """A noun with both numbers.

    Attributes:
        singular: Singular form.
        plural: Plural form; "" for a first name.
        inflection: "regular" or "irregular".
        kind: "human", "animal" or "thing".
        gender: "female" or "male"; "" if the gender of a reflexive would be open.
        relational: Whether it can head a phrase such as "sister of".
    """

    singular: str
    plural: str
    inflection: str
    kind: str
    gender: str
    relational: bool

    def form(self, number: str) -> str:
        """Return the form for a number ("singular" or "plural")."""
        return self.singular if number == SINGULAR else self.plural


@dataclass(frozen=True)
class Verb:
    """A verb with its forms and arguments.

    Attributes:
        plural_present: Present form for plural subjects, which is the dictionary form.
        singular_present: Present form for singular subjects.
        past: Past form.
        participle: Past participle.
        subject: "animate" or "any".
        object: "" (intransitive), "person", "thing" or "any".
        reflexive: Whether its object can be a reflexive.
    """

    plural_present: str
    singular_present: str
    past: str
    participle: str
    subject: str
    object: str
    reflexive: bool

    def present(self, number: str) -> str:
        """Return the present form that agrees with a subject of this number."""
        return self.singular_present if number == SINGULAR else self.plural_present

    def takes_subject(self, noun: Noun) -> bool:
        """Tell whether the noun can be this verb's subject."""
        return self.subject == "any" or noun.kind != "thing"

    def takes_object(self, noun: Noun) -> bool:
        """Tell whether the noun can be this verb's object."""
        return self.object == "any" or self.object == {"human": "person"}.get(noun.kind, noun.kind)


@dataclass(frozen=True)
class Adjective:
    """An adjective without number, and what it describes: "animate", "thing" or "any"."""

    word: str
    describes: str

    def fits(self, noun: Noun) -> bool:
        """Tell whether the adjective can describe the noun."""
        return self.describes == "any" or (self.describes == "thing") == (noun.kind == "thing")


@dataclass(frozen=True)
class Determiner:
    """A determiner or quantifier; `number` is "singular", "plural" or "neutral"."""

    word: str
    number: str
    weight: float


@dataclass(frozen=True)
class BiasedWord:
    """A word without number of its own that co-occurs mostly with nouns of one number.

    Attributes:
        word: The word.
        place: "adjective" or "determiner".
        plural_share: Share of its nouns that are plural.
    """

    word: str
    place: str
    plural_share: float


@dataclass(frozen=True)
class Lexicon:
    """All words of the grammar, in their files' order; `names` maps a first name to its gender."""

    nouns: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: tuple[Adjective, ...]
    names: Mapping[str, str]
    determiners: tuple[Determiner, ...]
    biased: tuple[BiasedWord, ...]


def load_lexicon(folder: Path) -> Lexicon:
    """Read and check the tables of the lexicon.

    Args:
        folder: Folder of the tables.

    Raises:
        UserError: A table is wrong; the message names file, entry and what is allowed.
    """
    lexicon = Lexicon(
        nouns=_nouns(folder / "nouns.csv"),
        verbs=_verbs(folder / "verbs.csv"),
        adjectives=_adjectives(folder / "adjectives.csv"),
        names=_names(folder / "names.csv"),
        determiners=_determiners(folder / "determiners.csv"),
        biased=_biased(folder / "biased_words.csv"),
    )
    _check_one_class_each(lexicon, folder)
    return lexicon


def _nouns(path: Path) -> tuple[Noun, ...]:
    columns = ("singular", "plural", "inflection", "kind", "gender", "relational")
    nouns = []
    for row in read_table(path, columns, key=("singular",)):
        where = f"{path}, {row['singular']!r}"
        one_of(row["inflection"], ("regular", "irregular"), f"{where}, inflection")
        one_of(row["kind"], ("human", "animal", "thing"), f"{where}, kind")
        one_of(row["gender"], ("female", "male", ""), f"{where}, gender")
        one_of(row["relational"], ("yes", ""), f"{where}, relational")
        if row["singular"] == row["plural"]:
            raise UserError(f"{where}: singular and plural are the same word, so it shows no number; leave it out")
        nouns.append(Noun(**{**row, "relational": row["relational"] == "yes"}))
    return tuple(nouns)


def _verbs(path: Path) -> tuple[Verb, ...]:
    columns = ("plural_present", "singular_present", "past", "participle", "subject", "object", "reflexive")
    verbs = []
    for row in read_table(path, columns, key=("plural_present",)):
        where = f"{path}, {row['plural_present']!r}"
        one_of(row["subject"], ("animate", "any"), f"{where}, subject")
        one_of(row["object"], ("", "person", "thing", "any"), f"{where}, object")
        one_of(row["reflexive"], ("yes", ""), f"{where}, reflexive")
        if row["plural_present"] in (row["singular_present"], row["past"], row["participle"]):
            raise UserError(
                f"{where}: present, past and participle must differ from the plural present; choose another verb"
            )
        verbs.append(Verb(**{**row, "reflexive": row["reflexive"] == "yes"}))
    return tuple(verbs)


def _adjectives(path: Path) -> tuple[Adjective, ...]:
    rows = read_table(path, ("adjective", "describes"), key=("adjective",))
    for row in rows:
        one_of(row["describes"], ("animate", "thing", "any"), f"{path}, {row['adjective']!r}, describes")
    return tuple(Adjective(row["adjective"], row["describes"]) for row in rows)


def _names(path: Path) -> dict[str, str]:
    rows = read_table(path, ("name", "gender"), key=("name",))
    return {row["name"]: one_of(row["gender"], ("female", "male"), f"{path}, {row['name']!r}, gender") for row in rows}


def _determiners(path: Path) -> tuple[Determiner, ...]:
    determiners = []
    for row in read_table(path, ("determiner", "number", "weight"), key=("determiner",)):
        where = f"{path}, {row['determiner']!r}"
        number = one_of(row["number"], (SINGULAR, PLURAL, "neutral"), f"{where}, number")
        determiners.append(
            Determiner(row["determiner"], number, number_between(row["weight"], 0.01, 100, f"{where}, weight"))
        )
    return tuple(determiners)


def _biased(path: Path) -> tuple[BiasedWord, ...]:
    biased = []
    for row in read_table(path, ("word", "place", "plural_share"), key=("word",)):
        where = f"{path}, {row['word']!r}"
        place = one_of(row["place"], ("adjective", "determiner"), f"{where}, place")
        biased.append(
            BiasedWord(row["word"], place, number_between(row["plural_share"], 0, 1, f"{where}, plural_share"))
        )
    return tuple(biased)


def _check_one_class_each(lexicon: Lexicon, folder: Path) -> None:
    """Check that each word form belongs to one entry only, because counts by word would mix two words otherwise."""
    forms: dict[str, str] = {}
    entries = [("nouns.csv", {noun.singular, noun.plural}) for noun in lexicon.nouns]
    entries += [
        ("verbs.csv", {verb.plural_present, verb.singular_present, verb.past, verb.participle})
        for verb in lexicon.verbs
    ]
    entries += [("adjectives.csv", {adjective.word}) for adjective in lexicon.adjectives]
    entries += [("names.csv", {name}) for name in lexicon.names]
    entries += [("determiners.csv", {determiner.word}) for determiner in lexicon.determiners]
    entries += [("biased_words.csv", {biased.word}) for biased in lexicon.biased]
    for table, words in entries:
        for word in sorted(words):
            if not word.isalpha():
                raise UserError(f"{folder / table}: {word!r} must be one word of letters")
            if word in forms:
                raise UserError(
                    f"{folder / table}: {word!r} is also a word of {forms[word]}; a form may have one entry only"
                )
            forms[word] = table
