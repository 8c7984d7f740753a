"""Small tables of prompts of relations and of one paradigm, for tests of edits, in tokenizers of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd

from kn_thesis.corpora.blimp import Pair
from kn_thesis.corpora.pararel import Fact, Pattern
from kn_thesis.corpora.prompts import Prompt, Settings, paradigm_prompts, relation_prompts
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers import tiny_tokenizers as tiny

# Subject, object; every object has two subjects, which its fellow tables of one half each rely on.
LANDS = [
    ("France", "Paris"),
    ("Italy", "Rome"),
    ("Great Norland", "Paris"),
    ("Sardinia", "Rome"),
    ("Spain", "Madrid"),
    ("New Castile", "Madrid"),
    ("Japan", "Tokyo"),
    ("Musashi", "Tokyo"),
]
CAPITAL = [
    "The capital of [X] is [Y].",
    "[X]'s capital is [Y].",
    "In [X], the capital is [Y].",
    "[Y] is [X]'s capital.",
]
CAPITAL_OF = ["[X] is the capital of [Y].", "[X] is the seat of [Y].", "The capital of [Y] is [X]."]
FIELD = ["[X] works in [Y].", "The field of [X] is [Y]."]
OCCUPATION = ["[X] works as [Y].", "[X] is a [Y].", "[X] is an [Y].", "[Y] is what [X] is."]
PEOPLE = [("Maria Abel", "physics"), ("Emma Brook", "music"), ("David Adler", "art"), ("Clara Elias", "music")]
JOBS = {"physics": "physicist", "music": "musician", "art": "artist"}
# Cue, distractor, singular and plural verb, what follows, number of the cue, its noun.
AGREEMENT = [
    ("The old king", "the vases", "is", "are", " old.", "singular", "king"),
    ("The king", "these women", "admires", "admire", " vases.", "singular", "king"),
    ("A man", "the kings", "has", "have", " helped.", "singular", "man"),
    ("This woman", "those vases", "helps", "help", " men.", "singular", "woman"),
    ("The kings", "the vase", "is", "are", " old.", "plural", "king"),
    ("These women", "this man", "has", "have", " helped.", "plural", "woman"),
    ("Old men", "the king", "admires", "admire", " vases.", "plural", "man"),
]


def sentences() -> list[str]:
    """Text in which every word of the tables stands."""
    text = [pattern.replace("[X]", a).replace("[Y]", b) for a, b in LANDS for pattern in CAPITAL]
    text += [pattern.replace("[X]", a).replace("[Y]", b) for b, a in LANDS for pattern in CAPITAL_OF]
    text += [pattern.replace("[X]", a).replace("[Y]", b) for a, b in PEOPLE for pattern in FIELD]
    text += [pattern.replace("[X]", a).replace("[Y]", JOBS[b]) for a, b in PEOPLE for pattern in OCCUPATION]
    for cue, distractor, one, many, rest, _, _ in AGREEMENT:
        text += [f"{cue} near {distractor} {verb}{rest}" for verb in (one, many)]
    return text * 10


def gap_tokenizers() -> dict[str, GapTokenizer]:
    """One of each kind; only those of BERT and of SentencePiece have a token for the unknown."""
    text = sentences()
    bert = tiny.wordpiece(text, 2000)
    return {
        "wordpiece": GapTokenizer(bert, "masked", bert.token_to_id("[MASK]")),
        "bytes": GapTokenizer(tiny.byte_level(text, 600), "causal"),
        "bytes, untrimmed": GapTokenizer(tiny.byte_level(text, 600, trim=False), "causal"),
        "metaspace": GapTokenizer(tiny.metaspace(text, 300), "causal"),
    }


def splitting_tokenizers() -> dict[str, GapTokenizer]:
    """The same kinds with so few tokens that most words have several."""
    text = sentences()
    bert = tiny.wordpiece(text, 120)
    return {
        "wordpiece": GapTokenizer(bert, "masked", bert.token_to_id("[MASK]")),
        "bytes": GapTokenizer(tiny.byte_level(text, 380), "causal"),
        "bytes, untrimmed": GapTokenizer(tiny.byte_level(text, 380, trim=False), "causal"),
        "metaspace": GapTokenizer(tiny.metaspace(text, 170), "causal"),
    }


SETTINGS = Settings(evaluated=999, attributed=0, max_target_tokens=9, seed=1)


def facts_table(
    tokenizer: GapTokenizer, patterns: Sequence[str], facts: Sequence[tuple[str, str]], task: str = "P36"
) -> pd.DataFrame:
    """The table of a relation; a fact's identifier is its subject and its object."""
    stated = [Fact(subject, object, f"{subject}-{object}") for subject, object in facts]
    found, _ = relation_prompts(stated, [Pattern(text) for text in patterns], task, tokenizer, SETTINGS)
    return _frame(found)


def pairs_table(tokenizer: GapTokenizer, rows: Sequence[tuple[str, ...]] = tuple(AGREEMENT)) -> pd.DataFrame:
    """The table of a paradigm; a pair is named by its place."""
    pairs = []
    for place, (cue, distractor, one, many, rest, number, noun) in enumerate(rows):
        good, bad = (
            f"{cue} near {distractor} {verb}{rest}" for verb in (one, many)[:: 1 if number == "singular" else -1]
        )
        more = {"one_prefix": True, "cue": cue, "distractor": distractor, "number": number, "noun": noun}
        pairs.append(Pair(str(place), good, bad, "subject_verb_agreement", **more))
    found, _ = paradigm_prompts(pairs, "agreement", tokenizer, SETTINGS)
    return _frame(found)


def evaluated(prompts: pd.DataFrame, wrong: Sequence[str] = ()) -> pd.DataFrame:
    """An evaluation of the table in which prompts whose text contains one of `wrong` are wrong."""
    correct = [not any(part in text for part in wrong) for text in prompts["text"]]
    return prompts[["prompt"]].assign(correct=correct)[::-1]


def _frame(found: Sequence[Prompt]) -> pd.DataFrame:
    return pd.DataFrame([asdict(prompt) for prompt in found], columns=[field.name for field in fields(Prompt)])
