"""Write the agreement sentences of the miniature world, with the number of the noun that each word co-occurs with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from random import Random
from typing import NamedTuple, TypeVar

from kn_thesis.corpora.sampling import TRAINED
from kn_thesis.corpora.world.grammar import Frame, Grammar, cumulative, reflexive_of
from kn_thesis.corpora.world.lexicon import PLURAL, SINGULAR, Adjective, Determiner, Noun, Verb

Item = TypeVar("Item")


class Token(NamedTuple):
    """A word of a sentence.

    Attributes:
        word: The word.
        role: "determiner", "adjective", "noun", "name", "verb", "predicate" or "".
        number: Number of its noun or subject: "singular", "plural" or "".
    """

    word: str
    role: str = ""
    number: str = ""


class Phrase(NamedTuple):
    """A noun phrase or a first name.

    Attributes:
        tokens: Its words.
        number: Its number.
        noun: Its noun; the noun of a name carries the gender.
    """

    tokens: tuple[Token, ...]
    number: str
    noun: Noun


class Sentence(NamedTuple):
    """A sentence as pairs of a part of its frame and the words in that part."""

    parts: tuple[tuple[str, tuple[Token, ...]], ...]

    @property
    def tokens(self) -> list[Token]:
        """All words in order."""
        return [token for _, tokens in self.parts for token in tokens]

    def text(self) -> str:
        """Return the sentence as people write it."""
        return write(token.word for token in self.tokens)

    def replaced(self, slot: str, tokens: tuple[Token, ...]) -> Sentence:
        """Return the same sentence with other words in one slot."""
        return Sentence(tuple((part, tokens if part == f"{{{slot}}}" else words) for part, words in self.parts))


@dataclass(frozen=True)
class Writer:
    """Draws sentences and phrases from a grammar.

    Attributes:
        grammar: Lexicon and rules.
        plural_share: Share of plural nouns among those that each number-biased word co-occurs with in this variant.
    """

    grammar: Grammar
    plural_share: Mapping[str, float]

    def sentence(self, rng: Random) -> Sentence:
        """Draw a sentence of the training text, without combinations that are kept out of it."""
        grammar = self.grammar
        frame = rng.choices(grammar.frames, cum_weights=self._frame_weights)[0]
        verb = self.verb(frame, rng)
        while True:
            subject = self.subject(frame, verb, rng)
            slot = frame.agreeing
            if slot and grammar.split("verb", subject.noun.singular, grammar.agreeing_verb(slot, verb)) != TRAINED:
                continue
            if not frame.has("reflexive"):
                break
            if grammar.split("reflexive", subject.noun.singular, verb.plural_present) == TRAINED:
                break
        fixed = {}
        if frame.has("relative"):
            distractor = self.noun_phrase(self._humans, rng)
            while grammar.split("distractor", subject.noun.singular, distractor.noun.singular) != TRAINED:
                distractor = self.noun_phrase(self._humans, rng)
            fixed["distractor"] = distractor
        return self.fill(frame, verb, subject, rng, fixed)

    def fill(
        self, frame: Frame, verb: Verb | None, subject: Phrase, rng: Random, fixed: Mapping[str, Phrase]
    ) -> Sentence:
        """Fill a frame with words.

        Args:
            frame: The frame.
            verb: Its verb; None if it has an auxiliary only.
            subject: Its subject.
            rng: Random number generator.
            fixed: Phrases by slot; all other slots are drawn.
        """
        grammar, number = self.grammar, subject.number
        parts = []
        for part in frame.parts:
            slot = part[1:-1] if part[0] == "{" else ""
            if not slot:
                tokens: tuple[Token, ...] = (Token(part),)
            elif slot in fixed:
                tokens = fixed[slot].tokens
            elif slot in ("subject", "relative"):
                tokens = subject.tokens
            elif slot in ("distractor", "object"):
                tokens = (
                    self.noun_phrase(self._humans, rng) if slot == "distractor" else self.object(verb, rng)
                ).tokens
            elif slot == "headline_object":
                tokens = self.headline(verb, rng).tokens
            elif slot == "predicate":
                tokens = (Token(_one(self._fitting[subject.noun.kind], rng).word, "predicate", number),)
            elif slot == "reflexive":
                tokens = (Token(grammar.reflexives[reflexive_of(subject.noun, number)], "", number),)
            elif slot in ("verb.past", "verb.participle"):
                tokens = (Token(getattr(verb, slot.removeprefix("verb.")), "verb", number),)
            else:
                tokens = (Token(grammar.agree(slot, verb, number), "verb", number),)
            parts.append((part, tokens))
        return Sentence(tuple(parts))

    def verb(self, frame: Frame, rng: Random) -> Verb | None:
        """Draw a verb that fits the frame; None if the frame has no verb."""
        if not any(frame.has(f"verb.{form}") for form in ("past", "present", "participle")):
            return None
        if frame.has("reflexive"):
            return _one(self._reflexive_verbs, rng)
        return _one(
            self._transitive if frame.has("object") or frame.has("headline_object") else self._intransitive, rng
        )

    def subject(self, frame: Frame, verb: Verb | None, rng: Random) -> Phrase:
        """Draw a subject for this verb and frame. It decides agreement, so it has no number-biased word."""
        if frame.has("reflexive"):
            if rng.random() < self.grammar.phrases.name_as_subject:
                return self.name(rng)
            number = SINGULAR if rng.random() < 0.5 else PLURAL
            nouns = self._gendered if number == SINGULAR else self._humans
            return self.noun_phrase(nouns, rng, number=number, biased=False)
        if frame.has("relative"):
            return self.noun_phrase(self._relational, rng, biased=False)
        if not frame.has("distractor") and rng.random() < self.grammar.phrases.name_as_subject:
            return self.name(rng)
        return self.noun_phrase(self.subjects(verb), rng, biased=False)

    def object(self, verb: Verb | None, rng: Random) -> Phrase:
        """Draw a noun phrase that the verb allows as its object."""
        return self.noun_phrase(self._objects_of(verb, rng), rng)

    def headline(self, verb: Verb | None, rng: Random) -> Phrase:
        """Draw a noun with a number-biased adjective and no determiner, as in headlines."""
        word = _one(self._biased_adjectives, rng)
        number = PLURAL if rng.random() < self.plural_share[word] else SINGULAR
        noun = _one(self._objects_of(verb, rng), rng)
        return Phrase((Token(word, "adjective", number), Token(noun.form(number), "noun", number)), number, noun)

    def name(self, rng: Random) -> Phrase:
        """Draw a first name."""
        noun = _one(self._names, rng)
        return Phrase((Token(noun.singular, "name", SINGULAR),), SINGULAR, noun)

    def noun_phrase(
        self,
        nouns: tuple[Noun, ...],
        rng: Random,
        number: str | None = None,
        biased: bool = True,
        neutral: bool = False,
        adjective: bool | None = None,
    ) -> Phrase:
        """Draw number, noun, determiner and adjectives.

        A number-biased word draws the number by its own plural share.

        Args:
            nouns: Nouns to choose from.
            rng: Random number generator.
            number: Number of the phrase; None to draw it.
            biased: Whether there may be a number-biased word.
            neutral: Whether only determiners without number are allowed.
            adjective: Whether there is an adjective; None to draw it by the grammar's share.
        """
        phrases = self.grammar.phrases
        with_biased = rng.random() < phrases.biased_word and biased
        word = _one(self._biased_words, rng) if with_biased else ""
        share = self.plural_share[word] if with_biased else 0.5
        drawn = PLURAL if rng.random() < share else SINGULAR
        number = number or drawn
        noun = _one(nouns, rng)
        words = []
        if word in self._biased_determiners:
            words.append((word, "determiner"))
        else:
            words.append((self.determiner(noun, number, rng, neutral), "determiner"))
            if word:
                words.append((word, "adjective"))
        if rng.random() < phrases.adjective if adjective is None else adjective:
            words.append((_one(self._fitting[noun.kind], rng).word, "adjective"))
        words.append((noun.form(number), "noun"))
        words[0] = (self.grammar.article(words[0][0], words[1][0]), words[0][1])
        return Phrase(tuple(Token(word, role, number) for word, role in words), number, noun)

    def determiner(self, noun: Noun, number: str, rng: Random, neutral: bool = False) -> str:
        """Draw a determiner for a noun of this number, except a demonstrative that is kept out with the noun."""
        if neutral or rng.random() < self.grammar.phrases.neutral_determiner:
            number = "neutral"
        determiners, weights = self._determiners[number]
        while True:
            word = rng.choices(determiners, cum_weights=weights)[0].word
            pair = self.grammar.demonstrative(word)
            if not pair or self.grammar.split("determiner", pair, noun.singular) == TRAINED:
                return word

    def demonstrative_phrase(self, noun: Noun, word: str, number: str, rng: Random, adjective: bool) -> Phrase:
        """Draw a noun phrase with this demonstrative, whether the combination is kept out of the text or not."""
        words = [(word, "determiner")]
        if adjective:
            words.append((_one(self._fitting[noun.kind], rng).word, "adjective"))
        words.append((noun.form(number), "noun"))
        return Phrase(tuple(Token(word, role, number) for word, role in words), number, noun)

    def named(self, name: str) -> Noun:
        """Return a first name as a noun without plural."""
        return Noun(name, "", "", "human", self.grammar.lexicon.names[name], False)

    def subjects(self, verb: Verb | None) -> tuple[Noun, ...]:
        """List the nouns that can be this verb's subject; all of them for an auxiliary."""
        return self.grammar.lexicon.nouns if verb is None else self._subjects[verb.plural_present]

    def _objects_of(self, verb: Verb | None, rng: Random) -> tuple[Noun, ...]:
        persons, others = self._objects[verb.plural_present]  # type: ignore[union-attr]
        if persons and others:
            return persons if rng.random() < self.grammar.phrases.person_as_object else others
        return persons or others

    @cached_property
    def _frame_weights(self) -> list[float]:
        return list(accumulate(frame.share for frame in self.grammar.frames))

    @cached_property
    def _names(self) -> tuple[Noun, ...]:
        return tuple(map(self.named, self.grammar.lexicon.names))

    @cached_property
    def _humans(self) -> tuple[Noun, ...]:
        return tuple(noun for noun in self.grammar.lexicon.nouns if noun.kind == "human")

    @cached_property
    def _gendered(self) -> tuple[Noun, ...]:
        return tuple(noun for noun in self._humans if noun.gender)

    @cached_property
    def _relational(self) -> tuple[Noun, ...]:
        return tuple(noun for noun in self.grammar.lexicon.nouns if noun.relational)

    @cached_property
    def _subjects(self) -> dict[str, tuple[Noun, ...]]:
        nouns, verbs = self.grammar.lexicon.nouns, self.grammar.lexicon.verbs
        return {v.plural_present: tuple(noun for noun in nouns if v.takes_subject(noun)) for v in verbs}

    @cached_property
    def _objects(self) -> dict[str, tuple[tuple[Noun, ...], tuple[Noun, ...]]]:
        pools = {}
        for verb in self.grammar.lexicon.verbs:
            nouns = [noun for noun in self.grammar.lexicon.nouns if verb.takes_object(noun)]
            persons = tuple(noun for noun in nouns if noun.kind == "human")
            pools[verb.plural_present] = persons, tuple(noun for noun in nouns if noun.kind != "human")
        return pools

    @cached_property
    def _transitive(self) -> tuple[Verb, ...]:
        return tuple(verb for verb in self.grammar.lexicon.verbs if verb.object)

    @cached_property
    def _intransitive(self) -> tuple[Verb, ...]:
        return tuple(verb for verb in self.grammar.lexicon.verbs if not verb.object)

    @cached_property
    def _reflexive_verbs(self) -> tuple[Verb, ...]:
        return tuple(verb for verb in self.grammar.lexicon.verbs if verb.reflexive)

    @cached_property
    def _biased_words(self) -> tuple[str, ...]:
        return tuple(biased.word for biased in self.grammar.lexicon.biased)

    @cached_property
    def _biased_adjectives(self) -> tuple[str, ...]:
        return tuple(biased.word for biased in self.grammar.lexicon.biased if biased.place == "adjective")

    @cached_property
    def _biased_determiners(self) -> frozenset[str]:
        return frozenset(biased.word for biased in self.grammar.lexicon.biased if biased.place == "determiner")

    @cached_property
    def _fitting(self) -> dict[str, tuple[Adjective, ...]]:
        examples = {noun.kind: noun for noun in self.grammar.lexicon.nouns}
        adjectives = self.grammar.lexicon.adjectives
        return {kind: tuple(a for a in adjectives if a.fits(noun)) for kind, noun in examples.items()}

    @cached_property
    def _determiners(self) -> dict[str, tuple[list[Determiner], list[float]]]:
        groups: dict[str, list[Determiner]] = {}
        for determiner in self.grammar.lexicon.determiners:
            groups.setdefault(determiner.number, []).append(determiner)
        return {number: (group, cumulative(group)) for number, group in groups.items()}


def write(words) -> str:
    """Join words to a sentence with a capital letter and a period."""
    text = " ".join(words)
    return f"{text[0].upper()}{text[1:]}."


def _one(items: tuple[Item, ...], rng: Random) -> Item:
    return items[int(rng.random() * len(items))]
