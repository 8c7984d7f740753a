"""Read the grammar of the miniature world: frames, noun phrases, combinations kept out of the text, and paradigms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from kn_thesis.corpora.sampling import HELD_OUT, TRAINED, VALIDATION, hash_rank
from kn_thesis.corpora.world.lexicon import PLURAL, SINGULAR, VOWELS, Determiner, Lexicon, Noun, Verb, load_lexicon
from kn_thesis.errors import UserError
from kn_thesis.inputs import check_keys, entries_of, number_between, one_of, read_yaml, text_of, texts_of

SLOTS = [
    "subject",
    "relative",
    "distractor",
    "verb.past",
    "verb.present",
    "verb.participle",
    "is",
    "was",
    "has",
    "predicate",
    "object",
    "headline_object",
    "reflexive",
]
AUXILIARIES = ("is", "was", "has")


@dataclass(frozen=True)
class Frame:
    """A sentence with slots.

    Attributes:
        name: Name of the frame.
        share: Its weight among all frames.
        parts: Slots ("{subject}") and plain words, without the final period.
    """

    name: str
    share: float
    parts: tuple[str, ...]

    def has(self, slot: str) -> bool:
        """Tell whether the frame has this slot."""
        return f"{{{slot}}}" in self.parts

    @property
    def agreeing(self) -> str:
        """The slot of the finite verb or auxiliary that agrees with the subject; "" if there is none."""
        return next((slot for slot in ("verb.present", *AUXILIARIES) if self.has(slot)), "")


@dataclass(frozen=True)
class Auxiliary:
    """A form that agrees with the subject, and the verb it belongs to."""

    verb: str
    singular: str
    plural: str


@dataclass(frozen=True)
class Paradigm:
    """A BLiMP paradigm in terms of the world.

    Attributes:
        name: BLiMP's name.
        construction: "determiner", "verb", "reflexive" or "distractor".
        differs: Which word differs: "noun", "determiner", "verb", "gender" or "number".
        inflection: Inflection of its nouns, "regular" or "irregular"; "" for both.
        adjective: Whether an adjective stands between determiner and noun.
        verbs: Plural present forms or auxiliaries that its pairs use.
    """

    name: str
    construction: str
    differs: str
    inflection: str
    adjective: bool
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class NounPhrases:
    """Shares by which noun phrases are drawn.

    Attributes:
        name_as_subject: Share of subjects that are first names.
        neutral_determiner: Share of determiners without number.
        adjective: Share of noun phrases with an adjective.
        biased_word: Share of noun phrases with a number-biased word, where one is allowed.
        person_as_object: Share of persons among the objects of verbs that take persons and things.
    """

    name_as_subject: float
    neutral_determiner: float
    adjective: float
    biased_word: float
    person_as_object: float


@dataclass(frozen=True)
class Grammar:
    """Lexicon and rules, made by `load_grammar`.

    Attributes:
        lexicon: All words.
        frames: Sentence frames.
        phrases: Shares by which noun phrases are drawn.
        a_before: Words that take "a" in spite of their first letter.
        an_before: Words that take "an" in spite of their first letter.
        auxiliaries: Auxiliary by slot.
        reflexives: Reflexive pronoun for "female", "male" and "plural".
        held_out: Share held out for the study by kind of combination.
        validation: Share used for validation by kind of combination.
        demonstratives: Pairs of a singular and a plural demonstrative.
        paradigms: BLiMP's paradigms that the world has.
        seed: Seed that chooses the combinations kept out of the text.
    """

    lexicon: Lexicon
    frames: tuple[Frame, ...]
    phrases: NounPhrases
    a_before: frozenset[str]
    an_before: frozenset[str]
    auxiliaries: Mapping[str, Auxiliary]
    reflexives: Mapping[str, str]
    held_out: Mapping[str, float]
    validation: Mapping[str, float]
    demonstratives: tuple[tuple[str, str], ...]
    paradigms: tuple[Paradigm, ...]
    seed: int

    def split(self, kind: str, *words: str) -> str:
        """Return the split of a combination of dictionary forms, such as `trained` or `held_out`."""
        return self._splits.get(self.key(kind, *words), TRAINED)

    @cached_property
    def _splits(self) -> dict[str, str]:
        """Split by key of every combination kept out: exact shares of each stratum, in the order of the seed."""
        strata: dict[tuple[str, ...], list[str]] = {}
        for stratum, key in self._combinations():
            strata.setdefault(stratum, []).append(key)
        splits: dict[str, str] = {}
        for (kind, *_), keys in strata.items():
            order = sorted(keys, key=lambda key: hash_rank("combination", self.seed, key))
            held_out, validation = (round(share[kind] * len(keys)) for share in (self.held_out, self.validation))
            splits |= dict.fromkeys(order[:held_out], HELD_OUT)
            splits |= dict.fromkeys(order[held_out:][:validation], VALIDATION)
        return splits

    def _combinations(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield every combination that could be kept out with its stratum, shared with others of its paradigm."""
        nouns = self.lexicon.nouns
        for noun in nouns:
            for word, _ in self.demonstratives:
                yield ("determiner", word, noun.inflection), self.key("determiner", word, noun.singular)
            forms = [verb.plural_present for verb in self.lexicon.verbs] + [a.verb for a in self.auxiliaries.values()]
            for verb in forms:
                yield ("verb", verb, noun.inflection), self.key("verb", noun.singular, verb)
            for other in nouns if noun.relational else ():
                if other.kind == "human":
                    yield ("distractor", noun.singular), self.key("distractor", noun.singular, other.singular)
        antecedents = [*self.lexicon.names, *(noun.singular for noun in nouns if noun.kind == "human")]
        for verb in self.lexicon.verbs:
            for antecedent in antecedents if verb.reflexive else ():
                group = "name" if antecedent in self.lexicon.names else "noun"
                yield ("reflexive", verb.plural_present, group), self.key("reflexive", antecedent, verb.plural_present)

    @staticmethod
    def key(kind: str, *words: str) -> str:
        """Return the name of a combination, such as `determiner:this:vase`."""
        return ":".join((kind, *words))

    def demonstrative(self, word: str) -> str:
        """Return the singular demonstrative of a pair ("this" for "these"); "" for other words."""
        return next((pair[0] for pair in self.demonstratives if word in pair), "")

    def article(self, determiner: str, following: str) -> str:
        """Return `an` for `a` before a word that begins with a vowel sound, and any other determiner unchanged."""
        if determiner != "a" or following in self.a_before:
            return determiner
        return "an" if following[0] in VOWELS or following in self.an_before else "a"

    def agree(self, slot: str, verb: Verb | None, number: str) -> str:
        """Return the word in an agreeing slot for a subject of this number."""
        if slot == "verb.present":
            return verb.present(number)  # type: ignore[union-attr]
        return getattr(self.auxiliaries[slot], number)

    def agreeing_verb(self, slot: str, verb: Verb | None) -> str:
        """Return the dictionary form of the verb in an agreeing slot."""
        return verb.plural_present if slot == "verb.present" else self.auxiliaries[slot].verb  # type: ignore[union-attr]


def load_grammar(folder: Path, seed: int = 1) -> Grammar:
    """Read and check `grammar.yaml` and the lexicon beside it.

    Args:
        folder: Folder of the files.
        seed: Seed that chooses the combinations kept out of the text.

    Raises:
        UserError: A file is wrong; the message names file, place and remedy.
    """
    path = folder / "grammar.yaml"
    lexicon = load_lexicon(folder)
    keys = [
        "frames",
        "noun_phrases",
        "articles",
        "auxiliaries",
        "reflexives",
        "held_out",
        "validation",
        "demonstratives",
        "evaluated_verbs",
        "paradigms",
    ]
    content = read_yaml(path, keys)
    check_keys(content["noun_phrases"], NounPhrases.__dataclass_fields__, f"{path}, noun_phrases")
    shares = {
        name: number_between(value, 0, 1, f"{path}, noun_phrases.{name}")
        for name, value in content["noun_phrases"].items()
    }
    kinds = ("determiner", "verb", "distractor", "reflexive")
    for split in (HELD_OUT, VALIDATION):
        check_keys(content[split], kinds, f"{path}, {split}")
    check_keys(content["auxiliaries"], AUXILIARIES, f"{path}, auxiliaries")
    check_keys(content["reflexives"], ("female", "male", "plural"), f"{path}, reflexives")
    check_keys(content["articles"], ("a_before", "an_before"), f"{path}, articles")
    for key in ("frames", "demonstratives"):
        if not isinstance(content[key], list) or not content[key]:
            raise UserError(f"{path}, {key}: must be a list of entries")
    texts_of(content["evaluated_verbs"], f"{path}, evaluated_verbs")
    for name, entry in content["auxiliaries"].items():
        check_keys(entry, Auxiliary.__dataclass_fields__, f"{path}, auxiliaries.{name}")
        for key, word in entry.items():
            text_of(word, f"{path}, auxiliaries.{name}.{key}")
    for name, word in content["reflexives"].items():
        text_of(word, f"{path}, reflexives.{name}")
    grammar = Grammar(
        lexicon=lexicon,
        frames=tuple(_frame(entry, path) for entry in content["frames"]),
        phrases=NounPhrases(**shares),
        a_before=frozenset(texts_of(content["articles"]["a_before"], f"{path}, articles.a_before")),
        an_before=frozenset(texts_of(content["articles"]["an_before"], f"{path}, articles.an_before")),
        auxiliaries={name: Auxiliary(**entry) for name, entry in content["auxiliaries"].items()},
        reflexives=content["reflexives"],
        **{
            split: {kind: number_between(content[split][kind], 0, 0.45, f"{path}, {split}.{kind}") for kind in kinds}
            for split in (HELD_OUT, VALIDATION)
        },
        demonstratives=tuple(_demonstratives(pair, lexicon, path) for pair in content["demonstratives"]),
        paradigms=tuple(
            _paradigm(name, entry, lexicon, path)
            for name, entry in entries_of(content["paradigms"], f"{path}, paradigms").items()
        ),
        seed=seed,
    )
    for number in (SINGULAR, PLURAL):
        if not any(d.number == number and not grammar.demonstrative(d.word) for d in lexicon.determiners):
            raise UserError(f"{folder / 'determiners.csv'}: a {number} determiner beside the demonstratives is needed")
    return grammar


def _frame(entry: Any, path: Path) -> Frame:
    check_keys(entry, ("name", "share", "frame"), f"{path}, frames")
    where = f"{path}, frame {entry['name']!r}"
    text_of(entry["name"], f"{path}, frames, name")
    parts = tuple(text_of(entry["frame"], f"{where}, frame").rstrip(".").split())
    for slot in re.findall(r"\{(.*?)\}", entry["frame"]):
        one_of(slot, SLOTS, f"{where}, slot")
    frame = Frame(entry["name"], number_between(entry["share"], 0, 1e6, f"{where}, share"), parts)
    if frame.has("subject") == frame.has("relative"):
        raise UserError(f"{where}: needs exactly one of {{subject}} and {{relative}}")
    return frame


def _demonstratives(pair: Any, lexicon: Lexicon, path: Path) -> tuple[str, str]:
    numbers = {determiner.word: determiner.number for determiner in lexicon.determiners}
    words = texts_of(pair, f"{path}, demonstratives")
    if [numbers.get(word) for word in words] != [SINGULAR, PLURAL]:
        raise UserError(f"{path}, demonstratives: {pair!r} must be a singular and a plural word of determiners.csv")
    return pair[0], pair[1]


def _paradigm(name: str, entry: Any, lexicon: Lexicon, path: Path) -> Paradigm:
    where = f"{path}, paradigm {name!r}"
    check_keys(entry, ("construction",), where, ("differs", "inflection", "adjective", "verbs"))
    construction = one_of(entry["construction"], ("determiner", "verb", "reflexive", "distractor"), where)
    allowed = {"determiner": ("noun", "determiner"), "reflexive": ("gender", "number")}.get(construction, ("verb",))
    differs = one_of(entry.get("differs", "verb"), allowed, f"{where}, differs")
    inflection = one_of(entry.get("inflection", ""), ("regular", "irregular", ""), f"{where}, inflection")
    known = {*AUXILIARIES, *(verb.plural_present for verb in lexicon.verbs)}
    if not isinstance(entry.get("adjective", False), bool):
        raise UserError(f"{where}, adjective: must be true or false")
    for verb in texts_of(entry.get("verbs", []), f"{where}, verbs"):
        one_of(verb, sorted(known), f"{where}, verbs")
    return Paradigm(
        name, construction, differs, inflection, bool(entry.get("adjective")), tuple(entry.get("verbs", []))
    )


def reflexive_of(noun: Noun, number: str) -> str:
    """Return the key of the reflexive for an antecedent: "plural", its gender, or "" if its gender is open."""
    return PLURAL if number == PLURAL else noun.gender


def cumulative(determiners: tuple[Determiner, ...] | list[Determiner]) -> list[float]:
    """Return the cumulative weights for `random.choices`."""
    return list(accumulate(determiner.weight for determiner in determiners))
