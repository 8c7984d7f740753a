"""The request of a single edit, from texts as a user writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kn_thesis.corpora.gaps import GAP, CannotExpress, Encoded, filled
from kn_thesis.editing.answers import answers
from kn_thesis.editing.continuations import continue_rows, end_token, readable
from kn_thesis.editing.request import Request
from kn_thesis.errors import UserError
from kn_thesis.given_values import checked_text
from kn_thesis.models.evaluate import target_log_probabilities, with_target
from kn_thesis.models.length import too_long
from kn_thesis.tracing.spans import find_words, token_span

if TYPE_CHECKING:
    from kn_thesis.models.load import Model

LONGEST_WORD = 12  # tokens in which a model's own answer must have come to its end
WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class Wanted:
    """What a user asks for: see library.edit. needs_old: whether the editor cannot do without the old answer."""

    prompt: str
    subject: str
    target: str
    old: str | None = None
    paraphrases: Sequence[str] = ()
    require_new: bool = True
    needs_old: bool = False


def request_of(model: Model, wanted: Wanted) -> Request:
    """The request, in tokens; its `old` is the model's own first choice where none is named.

    Where that is no whole word and not needed, `old` is "" and old_prompt is new_prompt. Raises UserError for texts
    that this model and its tokenizer cannot take, and for an edit that asks for what is answered already.
    """
    texts = {"prompt": wanted.prompt, "subject": wanted.subject, "target": wanted.target, "old": wanted.old or ""}
    for name, text in texts.items():
        checked_text(name, text)
    old = None if wanted.old is None else wanted.old.strip()
    wanted = replace(wanted, subject=wanted.subject.strip(), target=wanted.target.strip(), old=old)
    prefix, suffix, glued = around = parted(model, wanted.prompt)
    subject = wanted.subject
    new = encoded(model, wanted.prompt, wanted.target)
    at = _subject_at(model, wanted, around)
    span = token_span(model.tokenizer, prefix, suffix, wanted.target, at, at + len(subject), glued)
    if span is None:
        raise UserError(f"the subject {subject!r} has no token of its own in the prompt {wanted.prompt!r}")
    if wanted.require_new and target_log_probabilities(model, [new]).first_choice[0]:
        raise UserError(
            f"{wanted.target!r} is the model's first choice in the prompt {wanted.prompt!r} already: ask for another "
            "answer, or pass require_new=False"
        )
    old = _old(model, wanted, new)
    old_prompt = encoded(model, wanted.prompt, old) if old else new
    return Request(
        name="edit",
        task="edit",
        kind="relation",
        cluster=subject,
        prefix=prefix,
        suffix=suffix,
        subject=subject,
        subject_at=at,
        old=old,
        new=wanted.target,
        new_prompt=new,
        old_prompt=old_prompt,
        subject_token=span[1] - 1,
        glued=glued,
        paraphrases=(old_prompt, *(encoded(model, text, old) for text in wanted.paraphrases)),
    )


def parted(model: Model, prompt: str) -> tuple[str, str, bool]:
    """See `GapTokenizer.around_gap`. Raises UserError where there is no gap, or more than one."""
    try:
        return model.tokenizer.around_gap(prompt)
    except CannotExpress as error:
        raise UserError(f"the prompt {prompt!r}: {error.reason}; write its gap once, as {GAP}") from None


def encoded(model: Model, prompt: str, word: str) -> Encoded:
    """A prompt in tokens, with a word for its gap. Raises UserError where that cannot be, or is too long."""
    parted(model, prompt)
    try:
        found = model.tokenizer.encode_prompt(prompt, word)
    except CannotExpress as error:
        raise UserError(
            f"{word!r} cannot fill the gap of the prompt {prompt!r}: {error.reason}; change the word or the prompt"
        ) from None
    if too_long(model, [found]):
        raise UserError(f"the prompt {prompt!r} is longer than the model's {model.positions} positions: shorten it")
    return found


def _subject_at(model: Model, wanted: Wanted, around: tuple[str, str, bool]) -> int:
    """The character at which the subject begins in the text whose gap the target fills."""
    subject, (prefix, suffix, glued) = wanted.subject, around
    if not subject:
        raise UserError("the subject is empty: name the words of the prompt that the edit is about")
    at = find_words(prefix, subject)
    if at is not None:
        return at
    causal = model.adapter.objective == "causal"
    at = None if causal else find_words(suffix, subject)
    if at is None:
        where = "before the gap of the prompt" if causal else "in the prompt"
        raise UserError(f"the subject {subject!r} is not {where} {wanted.prompt!r}: give words that stand there")
    return len(filled(prefix, wanted.target, glued)) + at


def _old(model: Model, wanted: Wanted, new: Encoded) -> str:
    """The answer that is replaced; "" where it is not known and not needed."""
    old = wanted.old if wanted.old is not None else first_word(model, wanted.prompt, new)
    if wanted.old is not None:
        encoded(model, wanted.prompt, wanted.old)
    if old == wanted.target and (wanted.old is not None or wanted.needs_old):
        raise UserError(f"{old!r} is both the old answer and the target: name another one")
    if old is None and wanted.needs_old:
        raise UserError(
            f"the model's first choice in the prompt {wanted.prompt!r} is no whole word: say with old= which answer is "
            "replaced"
        )
    return old or ""


def first_word(model: Model, prompt: str, asked: Encoded) -> str | None:
    """What the model itself says at the gap, word by its most probable tokens; None where that is no whole word.

    asked: the prompt in tokens with any word for its gap. A masked model's words have one token.
    """
    if model.adapter.objective == "masked":
        [said], _ = answers(model, [()], [[with_target(asked, asked.target_ids[:1], "masked")]])
        tokens = [int(said.says[0])]
    else:
        [tokens] = continue_rows(model, [asked.input_ids], None, LONGEST_WORD, stop=end_token(model))
    text = readable(model.tokenizer, tokens)
    match = WORD.match(text)
    if match is None or (match.end() == len(text) and len(tokens) == LONGEST_WORD):
        return None
    try:
        found = model.tokenizer.encode_prompt(prompt, match[0]).target_ids
    except CannotExpress:
        return None
    return match[0] if list(found) == tokens[: len(found)] else None
