"""How large tasks are, known before anything is fetched: prompts, groups, and words of a prompt.

Counted by the code that makes prompts, with words in place of a model's tokens. resources/sizes.yaml has the numbers
of the public corpora and of the world (scripts/count_sizes.py writes it); a user's own tasks are counted from files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kn_thesis.corpora.gaps import Encoded, check_parted
from kn_thesis.corpora.sample import PER_GROUP

SIZES_FILE = "resources/sizes.yaml"
WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
ALL = 10**9


@dataclass(frozen=True)
class Size:
    """A task as one kind of model is asked it.

    prompts, groups: how many; a group is a target word of a paradigm, a fact of a relation. words: mean of what the
    model reads, punctuation and the gap's mask included. behind: of these, mean number that tracing restores, from the
    cue's first word on in causal models (0: there is no cue). last: from the cue's last word on, in causal models.
    """

    prompts: float
    groups: float
    words: float
    behind: float = 0.0
    last: float = 0.0

    def share(self, prompts: float, groups: float) -> Size:
        """The same task with no more than so many prompts and groups."""
        return replace(self, prompts=min(self.prompts, prompts), groups=min(self.groups, groups))


def asked(size: Size, evaluated: int) -> Size:
    """What the study asks at most (corpora.sample)."""
    return size.share(evaluated, size.groups)


def attributed(size: Size, kind: str, most: int) -> Size:
    """What is localized: whole facts, or as many target words as leave each some prompts (corpora.sample)."""
    if kind == "relation":
        each = size.prompts / max(1, size.groups)
        facts = min(size.groups, max(1, most // max(1, each)))
        return replace(size, prompts=facts * each, groups=facts)
    return size.share(most, max(1, most // PER_GROUP))


@dataclass
class Words:
    """Stands in for a model's tokenizer: a token is a word or a mark of punctuation. objective: as a model's."""

    objective: str
    _ids: dict[str, int] = field(default_factory=dict)

    def ids(self, text: str) -> tuple[int, ...]:
        """A number for each word of a text; 0 is the mask."""
        return tuple(self._ids.setdefault(word, len(self._ids) + 1) for word in WORD.findall(text))

    def encode(self, prefix: str, suffix: str, word: str, glued: bool = False) -> Encoded:
        """See corpora.gaps.Encoded."""
        check_parted(prefix, word, glued)
        before, target = self.ids(prefix), self.ids(word)
        if self.objective == "causal":
            return Encoded(before, len(before) - 1, target)
        return Encoded((*before, *(0 for _ in target), *self.ids(suffix)), len(before), target)


def count_task(task: str, objective: str, files: Mapping[str, str | Path]) -> Size:
    """The size of a task from its files: `pairs`, or `patterns` and `facts`. Raises UserError for a broken file."""
    from kn_thesis.corpora.blimp import load_pairs
    from kn_thesis.corpora.pararel import load_facts, load_patterns
    from kn_thesis.corpora.prompts import Settings, paradigm_prompts, relation_prompts

    words: Any = Words(objective)
    settings = Settings(evaluated=ALL, attributed=0, max_target_tokens=ALL, seed=1)
    if "pairs" in files:
        prompts, _ = paradigm_prompts(load_pairs(files["pairs"]), task, words, settings)
    else:
        facts, patterns = load_facts(files["facts"]), load_patterns(files["patterns"])
        prompts, _ = relation_prompts(facts, patterns, task, words, settings)
    if not prompts:
        return Size(0, 0, 0)
    read = [len(prompt.input_ids) for prompt in prompts]
    cued = [prompt for prompt in prompts if prompt.cue_at >= 0]
    if objective == "masked":  # every token is restored, wherever the cue stands
        behind, last = _mean([len(prompt.input_ids) for prompt in cued]), 0.0
    else:
        behind = _mean([len(prompt.input_ids) - len(words.ids(prompt.prefix[: prompt.cue_at])) for prompt in cued])
        last = behind - _mean([len(words.ids(prompt.cue)) for prompt in cued]) + 1 if cued else 0.0
    return Size(len(prompts), len({prompt.group for prompt in prompts}), _mean(read), behind, last)


def read_sizes(content: Mapping[str, Any]) -> dict[str, dict[tuple[str, str], Size]]:
    """Per corpus ("world", "fetched") the size of each task and objective, from the content of resources/sizes.yaml."""
    return {
        corpus: {(task, kind): Size(**numbers) for task, kinds in tasks.items() for kind, numbers in kinds.items()}
        for corpus, tasks in content.items()
    }


def numbers(size: Size) -> dict[str, float]:
    """A size as the file has it."""
    return {name: round(value, 1) if value % 1 else int(value) for name, value in asdict(size).items()}


def _mean(values: list[int]) -> float:
    return round(sum(values) / len(values), 1) if values else 0.0
