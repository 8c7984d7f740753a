"""Where a cue stands among a prompt's tokens: by the tokens' offsets, never by looking for tokens in tokens."""

from __future__ import annotations

from kn_thesis.corpora.gaps import GapTokenizer
from kn_thesis.errors import UserError


def cue_span(tokenizer: GapTokenizer, prefix: str, suffix: str, target: str, cue: str) -> tuple[int, int]:
    """First token of a cue and one past its last, in the ids of `tokenizer.encode(prefix, suffix, target)`.

    The cue is looked for in the text, as whole words, before the gap first; a causal model sees no other place. A token
    counts when it covers any letter of the cue. Raises UserError when the cue is empty, is not in the text, or has no
    token.
    """
    if not cue.strip():
        raise UserError("the cue is empty: name the words to corrupt")
    at = find_words(prefix, cue)
    if at is None and tokenizer.objective == "masked":
        at = find_words(suffix, cue)
        at = None if at is None else at + len(_before(prefix)) + len(target)
    if at is None:
        raise UserError(f"the cue {cue!r} is not in the prompt {prefix!r}: give words that stand in it")
    span = token_span(tokenizer, prefix, suffix, target, at, at + len(cue))
    if span is None:
        raise UserError(f"the cue {cue!r} has no token of its own in the prompt {prefix!r}")
    return span


def token_span(
    tokenizer: GapTokenizer, prefix: str, suffix: str, target: str, start: int, end: int
) -> tuple[int, int] | None:
    """Tokens (first, one past the last) that cover letters from `start` to `end` of the filled text; None if none do.

    That text is the prefix, a space, the target and, for a masked model, the suffix (corpora.cues.Stretch).
    """
    text = f"{_before(prefix)}{target}{suffix if tokenizer.objective == 'masked' else ''}"
    whole = tokenizer.tokenizer.encode(text)
    inside = [
        number
        for number, ((a, b), special) in enumerate(zip(whole.offsets, whole.special_tokens_mask, strict=True))
        if not special and _covers(text, a, b, start, end)
    ]
    return (inside[0], inside[-1] + 1) if inside else None


def _before(prefix: str) -> str:
    return f"{prefix} " if prefix else ""


def _covers(text: str, a: int, b: int, start: int, end: int) -> bool:
    """Whether a token's letters, spaces aside, overlap a stretch of the text."""
    while a < b and text[a].isspace():
        a += 1
    return a < end and b > start and a < b


def find_words(text: str, cue: str) -> int | None:
    """The first place of a cue between word boundaries."""
    place = text.find(cue)
    while place >= 0:
        before, after = text[place - 1 : place], text[place + len(cue) : place + len(cue) + 1]
        if not (before.isalnum() or after.isalnum()):
            return place
        place = text.find(cue, place + 1)
    return None
