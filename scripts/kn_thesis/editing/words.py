"""How the chapter's figures, sentences and tables of text call editors and criteria."""

from __future__ import annotations

import math
from collections.abc import Iterable

METHOD_WORDS = {"rome": "ROME", "knowledge_neuron": "knowledge neurons", "fine_tuning": "fine-tuning"}
CRITERION_WORDS = {
    "reliability": "reliability",
    "generality": "generality",
    "locality": "locality",
    "symmetry_new": "symmetry (new side)",
    "symmetry_old": "symmetry (old side)",
    "synonymy": "synonymy",
    "other_verb": "another verb",
    "other_distractor": "another distractor",
    "other_subject": "another subject",
    "other_both": "another of both",
}


def method_of(editor: str) -> str:
    """The method that an editor is named by: what stands before the first hyphen."""
    return editor.partition("-")[0]


def editor_words(editor: str) -> str:
    """An editor as readers call it, such as "ROME" or "ROME (gap)"; of an unknown method, by the method's own name."""
    method, _, variant = editor.partition("-")
    words = METHOD_WORDS.get(method, method)
    return f"{words} ({variant})" if variant else words


def criterion_words(criterion: str) -> str:
    """A criterion as readers call it; one that is not known here, by its own name."""
    return CRITERION_WORDS.get(criterion, criterion)


def within(value: float, low: float, high: float, form: str = ".0%") -> str:
    """A value with its interval, such as "97% [93%, 100%]"; without one where it has no ends."""
    ends = "" if math.isnan(low) or math.isnan(high) else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{ends}"


def listed(parts: list[str]) -> str:
    """Several things in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def span(values: Iterable[float], form: str) -> str:
    """From the smallest to the largest of several values, such as "0.60 to 0.71"; one where they read the same."""
    known = sorted(values)
    return " to ".join(dict.fromkeys(format(end, form) for end in (known[0], known[-1])))
