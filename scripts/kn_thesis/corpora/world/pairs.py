"""Make the minimal pairs of the miniature world, in BLiMP's schema and under BLiMP's names.

All pairs are about combinations of words that are kept out of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from kn_thesis.corpora.sampling import HELD_OUT
from kn_thesis.corpora.world.grammar import AUXILIARIES, Frame, Grammar, Paradigm, reflexive_of
from kn_thesis.corpora.world.lexicon import PLURAL, SINGULAR, Verb
from kn_thesis.corpora.world.sentences import Phrase, Sentence, Token, Writer
from kn_thesis.errors import UserError

TERMS = {
    "determiner": "determiner_noun_agreement",
    "verb": "subject_verb_agreement",
    "distractor": "subject_verb_agreement",
    "reflexive": "anaphor_agreement",
}
TRIES = 50


def make_pairs(
    writer: Writer, paradigm: Paradigm, number: int, seed: int, split: str = HELD_OUT
) -> list[dict[str, Any]]:
    """Draw different pairs of a paradigm, alternating between both numbers.

    Besides BLiMP's keys, a pair has `target_number` (of the good word), `cue` (the words that decide the agreement),
    `distractor` (words of the other number in between, or ""), `lexical_key` (the combination that the pair is about),
    `noun` (dictionary form of the noun that agrees) and `split`.

    Args:
        writer: Writer of sentences.
        paradigm: The paradigm.
        number: Maximum number of pairs; a small grammar may have fewer.
        seed: Seed of the pairs.
        split: Split of the combinations that the pairs are about.

    Returns:
        Pairs as rows.

    Raises:
        UserError: The paradigm has no combination of this split.
    """
    draw = {"determiner": _determiner, "verb": _verb, "distractor": _distractor, "reflexive": _reflexive}
    rng = Random(f"pairs {seed} {paradigm.name} {split}")
    pairs: dict[str, dict[str, Any]] = {}
    combinations = list(_combinations(writer, paradigm, split))
    if not combinations:
        raise UserError(
            f"resources/world/grammar.yaml, {split}: no combination is kept out for {paradigm.name}; raise the share"
        )
    # A small grammar has a limited number of pairs: stop after some rounds without a new one.
    misses = 0
    while len(pairs) < number and misses < TRIES * len(combinations):
        combination = combinations[int(rng.random() * len(combinations))]
        target_number = (SINGULAR, PLURAL)[len(pairs) % 2]
        pair = draw[paradigm.construction](writer, paradigm, combination, target_number, rng)
        if pair is None or pair["sentence_good"] in pairs:
            misses += 1
            continue
        misses = 0
        pairs[pair["sentence_good"]] = pair
    one_prefix = paradigm.differs != "determiner"
    return [
        pair
        | _prefixes(pair["sentence_good"], pair["sentence_bad"], one_prefix)
        | {
            "field": "morphology",
            "linguistics_term": TERMS[paradigm.construction],
            "UID": paradigm.name,
            "simple_LM_method": True,
            "one_prefix_method": one_prefix,
            "two_prefix_method": not one_prefix,
            # BLiMP's own flag for these paradigms.
            "lexically_identical": paradigm.construction == "determiner" or paradigm.differs == "number",
            "pairID": f"{split[0]}{index}",
            "split": split,
        }
        for index, pair in enumerate(pairs.values())
    ]


def _prefixes(good: str, bad: str, one_prefix: bool) -> dict[str, str]:
    """Return BLiMP's prefixes: one before two differing words, or two differing ones before one (the last) word."""
    right, wrong = good.rstrip(".").split(), bad.rstrip(".").split()
    if not one_prefix:
        two = {"good": " ".join(right[:-1]), "bad": " ".join(wrong[:-1])}
        return {f"two_prefix_prefix_{which}": prefix for which, prefix in two.items()} | {"two_prefix_word": right[-1]}
    place = next(index for index, (a, b) in enumerate(zip(right, wrong, strict=True)) if a != b)
    return {
        "one_prefix_prefix": " ".join(right[:place]),
        "one_prefix_word_good": right[place],
        "one_prefix_word_bad": wrong[place],
    }


def _combinations(writer: Writer, paradigm: Paradigm, split: str) -> Iterator[tuple]:
    """Yield the combinations of a split that a paradigm can be about."""
    grammar, lexicon = writer.grammar, writer.grammar.lexicon
    nouns = [noun for noun in lexicon.nouns if paradigm.inflection in ("", noun.inflection)]
    if paradigm.construction == "determiner":
        for demonstratives in grammar.demonstratives:
            for noun in nouns:
                if grammar.split("determiner", demonstratives[0], noun.singular) == split:
                    yield demonstratives, noun
    elif paradigm.construction == "verb":
        for slot, verb in _slots(grammar, paradigm):
            for noun in writer.subjects(verb):
                inflected = paradigm.inflection in ("", noun.inflection)
                if inflected and grammar.split("verb", noun.singular, grammar.agreeing_verb(slot, verb)) == split:
                    yield slot, verb, noun
    elif paradigm.construction == "distractor":
        for noun in nouns:
            for other in nouns:
                if noun.relational and grammar.split("distractor", noun.singular, other.singular) == split:
                    yield noun, other
    else:
        names = [writer.named(name) for name in lexicon.names]
        for antecedent in names + [noun for noun in nouns if noun.kind == "human"]:
            for verb in lexicon.verbs:
                if verb.reflexive and grammar.split("reflexive", antecedent.singular, verb.plural_present) == split:
                    yield antecedent, verb


def _slots(grammar: Grammar, paradigm: Paradigm) -> Iterator[tuple[str, Verb | None]]:
    """Yield the agreeing slots and verbs of a paradigm."""
    verbs = {verb.plural_present: verb for verb in grammar.lexicon.verbs}
    for name in paradigm.verbs:
        yield (name, None) if name in AUXILIARIES else ("verb.present", verbs[name])


def _determiner(writer: Writer, paradigm: Paradigm, combination: tuple, number: str, rng: Random):
    demonstratives, noun = combination
    frame = _frame(writer.grammar, "subject", "verb.past", "object")
    verb = writer.verb(frame, rng)
    if not verb.takes_object(noun):
        return None
    index = (SINGULAR, PLURAL).index(number)
    good = writer.demonstrative_phrase(noun, demonstratives[index], number, rng, paradigm.adjective)
    bad = list(good.tokens)
    if paradigm.differs == "noun":
        bad[-1] = bad[-1]._replace(word=noun.form(_other(number)))
        cue = good.tokens[0].word
    else:
        bad[0] = bad[0]._replace(word=demonstratives[1 - index])
        cue = good.tokens[-1].word
    sentence = writer.fill(frame, verb, writer.subject(frame, verb, rng), rng, {"object": good})
    key = Grammar.key("determiner", demonstratives[0], noun.singular)
    return _pair(sentence, sentence.replaced("object", tuple(bad)), number, cue, key)


def _verb(writer: Writer, paradigm: Paradigm, combination: tuple, number: str, rng: Random):
    slot, verb, noun = combination
    # A determiner without number, so that the noun alone decides.
    subject = writer.noun_phrase((noun,), rng, number=number, biased=False, neutral=True)
    return _agreement(
        writer,
        slot,
        verb,
        "subject",
        subject,
        {},
        rng,
        Grammar.key("verb", noun.singular, writer.grammar.agreeing_verb(slot, verb)),
    )


def _distractor(writer: Writer, paradigm: Paradigm, combination: tuple, number: str, rng: Random):
    noun, other = combination
    slot, verb = rng.choice(list(_slots(writer.grammar, paradigm)))
    if slot == "verb.present" and not verb.object:
        return None
    subject = writer.noun_phrase((noun,), rng, number=number, biased=False, neutral=True)
    distractor = writer.noun_phrase((other,), rng, number=_other(number), biased=False, neutral=True)
    key = Grammar.key("distractor", noun.singular, other.singular)
    return _agreement(writer, slot, verb, "relative", subject, {"distractor": distractor}, rng, key)


def _agreement(
    writer: Writer, slot: str, verb: Verb | None, place: str, subject: Phrase, fixed: dict, rng: Random, key: str
):
    grammar = writer.grammar
    if slot == "verb.present":
        frame = _frame(grammar, place, slot, *(["object"] if verb.object else []), *fixed)
    else:
        frame = _frame(grammar, place, slot, "verb.participle" if slot == "has" else "predicate", *fixed)
        if slot == "has":
            verb = writer.verb(frame, rng)
            while not verb.takes_subject(subject.noun):
                verb = writer.verb(frame, rng)
    sentence = writer.fill(frame, verb, subject, rng, fixed)
    other = Token(grammar.agree(slot, verb, _other(subject.number)), "verb")
    distractor = " ".join(token.word for phrase in fixed.values() for token in phrase.tokens)
    return _pair(sentence, sentence.replaced(slot, (other,)), subject.number, _words(subject), key, distractor)


def _reflexive(writer: Writer, paradigm: Paradigm, combination: tuple, number: str, rng: Random):
    antecedent, verb = combination
    name = not antecedent.plural
    if paradigm.differs == "gender" or name:
        number = SINGULAR
    if not reflexive_of(antecedent, number):
        return None
    frame = _frame(writer.grammar, "subject", "verb.past", "reflexive")
    if name:
        subject = Phrase((Token(antecedent.singular, "name", SINGULAR),), SINGULAR, antecedent)
    else:
        subject = writer.noun_phrase((antecedent,), rng, number=number, biased=False, neutral=True)
    sentence = writer.fill(frame, verb, subject, rng, {})
    reflexives = writer.grammar.reflexives
    if paradigm.differs == "gender":
        wrong = reflexives["male" if antecedent.gender == "female" else "female"]
    elif number == SINGULAR:
        wrong = reflexives[PLURAL]
    else:
        wrong = reflexives[antecedent.gender or rng.choice(("female", "male"))]
    key = Grammar.key("reflexive", antecedent.singular, verb.plural_present)
    return _pair(sentence, sentence.replaced("reflexive", (Token(wrong),)), number, _words(subject), key)


def _pair(good: Sentence, bad: Sentence, number: str, cue: str, key: str, distractor: str = "") -> dict[str, Any]:
    return {
        "sentence_good": good.text(),
        "sentence_bad": bad.text(),
        "target_number": number,
        "cue": cue,
        "distractor": distractor,
        "lexical_key": key,
        "noun": key.split(":")[2 if key.startswith("determiner:") else 1],
    }


def _frame(grammar: Grammar, *slots: str) -> Frame:
    """Find the grammar's frame with exactly these slots."""
    for frame in grammar.frames:
        if sorted(part for part in frame.parts if part[0] == "{") == sorted(f"{{{slot}}}" for slot in slots):
            return frame
    if "verb.participle" in slots and "object" not in slots:
        return _frame(grammar, *slots, "object")
    raise UserError(f"resources/world/grammar.yaml, frames: the pairs need a frame with the slots {', '.join(slots)}")


def _words(phrase: Phrase) -> str:
    return " ".join(token.word for token in phrase.tokens)


def _other(number: str) -> str:
    return PLURAL if number == SINGULAR else SINGULAR
