"""Where a cue stands among a prompt's tokens: by the tokens' offsets, never by looking for tokens in tokens."""

from __future__ import annotations

from kn_thesis.corpora.gaps import GapTokenizer, filled
from kn_thesis.corpora.joints import inside_word
from kn_thesis.errors import UserError


def cue_span(
    tokenizer: GapTokenizer, prefix: str, suffix: str, target: str, cue: str, glued: bool = False
) -> tuple[int, int]:
    """First token of a cue and one past its last, in the ids of `tokenizer.encode(prefix, suffix, target, glued)`.

    The cue is looked for in the text, as whole words, before the gap first; a causal model sees no other place. A token
    counts when it covers any letter of the cue. Raises UserError when the cue is empty, is not in the text, or has no
    token.
    """
    if not cue.strip():
        raise UserError("the cue is empty: name the words to corrupt")
    at = find_words(prefix, cue)
    if at is None and tokenizer.objective == "masked":
        at = find_words(suffix, cue)
        at = None if at is None else at + len(filled(prefix, target, glued))
    if at is None:
        raise UserError(f"the cue {cue!r} is not in the prompt {prefix!r}: give words that stand in it")
    span = token_span(tokenizer, prefix, suffix, target, at, at + len(cue), glued)
    if span is None:
        raise UserError(f"the cue {cue!r} has no token of its own in the prompt {prefix!r}")
    return span


def token_span(
    tokenizer: GapTokenizer, prefix: str, suffix: str, target: str, start: int, end: int, glued: bool = False
) -> tuple[int, int] | None:
    """Tokens (first, one past the last) that cover letters from `start` to `end` of the filled text; None if none do.

    That text is the prefix with the target and, for a masked model, the suffix (corpora.cues.Stretch).
    """
    text = filled(prefix, target, glued) + (suffix if tokenizer.objective == "masked" else "")
    read = tokenizer.read(text)
    inside = [
        number
        for number, ((a, b), special) in enumerate(zip(read.offsets, read.special, strict=True))
        if not special and _covers(text, a, b, start, end)
    ]
    return (inside[0], inside[-1] + 1) if inside else None


def _covers(text: str, a: int, b: int, start: int, end: int) -> bool:
    """Whether a token's letters, spaces aside, overlap a stretch of the text."""
    while a < b and text[a].isspace():
        a += 1
    return a < end and b > start and a < b


def find_words(text: str, cue: str) -> int | None:
    """The first place of a cue between word boundaries."""
    place = text.find(cue)
    while place >= 0:
        if not (inside_word(text, place) or inside_word(text, place + len(cue))):
            return place
        place = text.find(cue, place + 1)
    return None
