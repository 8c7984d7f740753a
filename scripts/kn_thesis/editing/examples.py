"""Files of example edits: each with prompts that are continued before and after it (resources/poster.yaml)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kn_thesis.corpora.blanks import GAP, find_words
from kn_thesis.errors import UserError
from kn_thesis.inputs import check_keys, entries_of, read_user_yaml, text_of, texts_of

OLD, NEW, NEITHER = "old", "new", "neither"  # which answer a completion gives


@dataclass(frozen=True)
class Printed:
    """Source of printed completions, with their model and editor."""

    source: str
    model: str
    editor: str


@dataclass(frozen=True)
class Further:
    """A prompt that is continued.

    Attributes:
        prompt: the text.
        old: words by which a completion gives the old answer.
        new: words by which it gives the new one.
        before: printed continuation before the edit, without the prompt; "" where there is none.
        after: the same after the edit.
    """

    prompt: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Example:
    """One edit: `prompt`, which ends in its blank "___", must be answered by `new` instead of `old`."""

    name: str
    shows: str
    prompt: str
    subject: str
    old: str
    new: str
    continued: tuple[Further, ...]


@dataclass(frozen=True)
class Examples:
    """The examples of a file, in its order; `printed` is None where it quotes no completions."""

    examples: tuple[Example, ...]
    printed: Printed | None = None


def answer_of(text: str, old: Sequence[str], new: Sequence[str]) -> str:
    """Decide which answer a completion gives.

    Args:
        text: the completion.
        old: words of the old answer.
        new: words of the new answer.

    Returns:
        OLD or NEW, by the first of these words in the text; NEITHER without any.
    """
    places = {
        name: min((match.start() for word in words if (match := _word(word).search(text))), default=len(text))
        for name, words in ((OLD, old), (NEW, new))
    }
    first = min(places, key=lambda name: places[name])
    return first if places[first] < len(text) else NEITHER


def read_examples(path: str | Path) -> Examples:
    """Read a file of examples. Raises UserError for a mistake in it: file, place, what is wrong and what is allowed."""
    path = Path(path)
    content = read_user_yaml(path, "give editing.examples a path from the repository's root, or an absolute one")
    check_keys(content, ("examples",), f"{path}", ("printed",))
    printed = _printed(content["printed"], f"{path}: printed") if "printed" in content else None
    examples = [
        _example(_line(name, f"{path}: examples, a name"), entry, printed is not None, f"{path}: examples.{name}")
        for name, entry in entries_of(content["examples"], f"{path}: examples").items()
    ]
    return Examples(tuple(examples), printed)


def _printed(entry: Any, where: str) -> Printed:
    keys = ("source", "model", "editor")
    check_keys(entry, keys, where)
    return Printed(*(text_of(entry[key], f"{where}.{key}") for key in keys))


def _example(name: str, entry: Any, printed: bool, where: str) -> Example:
    keys = ("shows", "prompt", "subject", "old", "new")
    check_keys(entry, (*keys, "continued"), where)
    texts = {key: _line(entry[key], f"{where}.{key}") for key in keys}
    prompt = texts["prompt"]
    if prompt.count(GAP) != 1 or not prompt.endswith(f" {GAP}"):
        raise UserError(f"{where}.prompt: {prompt!r} must end in its one blank, a space and {GAP}")
    if find_words(prompt.removesuffix(GAP), texts["subject"]) is None:
        raise UserError(
            f"{where}.subject: {texts['subject']!r} does not stand in the prompt {prompt!r}: give words of it"
        )
    if texts["old"] == texts["new"]:
        raise UserError(f"{where}.new: {texts['new']!r} is the old answer: ask for another one")
    listed = entry["continued"]
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{where}.continued: must be a list of prompts, at least one")
    further = [_further(one, texts, printed, f"{where}.continued.{place}") for place, one in enumerate(listed)]
    prompts = [one.prompt for one in further]
    twice = next((text for place, text in enumerate(prompts) if text in prompts[:place]), None)
    if twice is not None:
        raise UserError(f"{where}.continued: the prompt {twice!r} comes twice: keep one")
    return Example(name=name, continued=tuple(further), **texts)


def _further(entry: Any, example: Mapping[str, str], printed: bool, where: str) -> Further:
    check_keys(entry, ("prompt",), where, ("old", "new", "before", "after"))
    prompt = _line(entry["prompt"], f"{where}.prompt")
    if GAP in prompt:
        raise UserError(f"{where}.prompt: {prompt!r} has a blank: the text before it is continued, leave {GAP} out")
    own = [key for key in ("old", "new") if key in entry]
    if len(own) == 1:
        raise UserError(f"{where}: {own[0]} stands alone: give both old and new ([] for no word), or leave both out")
    words = {key: tuple(texts_of(entry[key], f"{where}.{key}")) if own else (example[key],) for key in ("old", "new")}
    if not any(words.values()):
        raise UserError(f"{where}: old and new are both empty: name the words that tell the answers, or leave both out")
    both = next((word for word in words["old"] if word in words["new"]), None)
    if both is not None:
        raise UserError(f"{where}.new: {both!r} stands under old, too: keep one")
    texts = {}
    for key in ("before", "after"):
        if key in entry and not printed:
            raise UserError(
                f"{where}.{key}: nothing says where this was printed: add `printed: {{source, model, editor}}`"
            )
        text = _line(entry[key], f"{where}.{key}") if key in entry else prompt
        if not text.startswith(prompt):
            raise UserError(f"{where}.{key}: {text!r} does not begin with the prompt {prompt!r}: give the whole text")
        texts[key] = text.removeprefix(prompt).strip()
    return Further(prompt, **words, **texts)


def _line(value: Any, where: str) -> str:
    """A text in one line, without spaces around it."""
    text = text_of(value, where)
    if "\n" in text:
        raise UserError(f"{where}: {text[:40]!r} has more than one line: write it in one")
    return text.strip()


def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
