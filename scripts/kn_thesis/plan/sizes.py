"""Sizes of models and tasks, known before anything is fetched: layers and parameters, prompts and their words.

The code that makes prompts also counts a task, with words in place of a model's tokens. resources/sizes.yaml has the
sizes of the public corpora and of the world (scripts/tools/count_sizes.py writes it); users' own tasks are counted
from their files. This module imports no large library, since Snakemake needs every job while it parses the workflow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kn_thesis.corpora.blanks import check_split
from kn_thesis.corpora.sampling import PER_GROUP
from kn_thesis.models.cloze import Encoded

SIZES_FILE = "resources/sizes.yaml"
WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
ALL = 10**9  # no limit
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Names of each entry of a shape in Hugging Face's configurations; the first that a configuration has counts.
NAMES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "hidden": ("hidden_size", "n_embd"),
    "intermediate": ("intermediate_size", "n_inner"),
    "heads": ("num_attention_heads", "n_head"),
    "vocabulary": ("vocab_size",),
    "positions": ("max_position_embeddings", "n_positions"),
}
GATED = ("llama", "mistral", "qwen2")  # families whose MLPs have three matrices
ROTATED = (*GATED, "gptj")  # families with rotary positions, whose output matrix is usually untied


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer.

    Attributes:
        layers: how many layers.
        hidden: width of the hidden state.
        intermediate: neurons of a layer's MLP.
        heads: attention heads.
        vocabulary: tokens of the vocabulary.
        positions: embedded positions; 0 for rotary ones.
        keys: heads of keys and values; 0 means as many as `heads`.
        gated: whether the MLP has a gate.
        tied: whether the output matrix is the embedding matrix.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int
    positions: int = 0
    keys: int = 0
    gated: bool = False
    tied: bool = True

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer's matrices; biases and norms are left out (below 1 % in every family)."""
        attention = self.hidden**2 * (2 + 2 * (self.keys or self.heads) / self.heads)
        return round(attention) + self.hidden * self.intermediate * (3 if self.gated else 2)

    @property
    def projecting(self) -> float:
        """Share of the query, key and value projections in a layer's parameters."""
        return self.hidden**2 * (1 + 2 * (self.keys or self.heads) / self.heads) / self.layer_parameters

    @property
    def writing(self) -> float:
        """Share of the MLP's down-projection in a layer's parameters."""
        return self.hidden * self.intermediate / self.layer_parameters

    @property
    def parameters(self) -> int:
        """Parameters of all matrices: embeddings, layers, output."""
        embeddings = (self.vocabulary * (1 if self.tied else 2) + self.positions) * self.hidden
        return embeddings + self.layers * self.layer_parameters


def shape_from_config(config: Mapping[str, Any]) -> Shape | None:
    """Return the shape that a model's `config.json` states; None when an entry is missing."""
    entries = {
        entry: next((config[name] for name in names if config.get(name)), None) for entry, names in NAMES.items()
    }
    family = str(config.get("model_type"))
    if family in ROTATED:
        entries["positions"] = 0
    if entries["intermediate"] is None and entries["hidden"] and family not in GATED:
        entries["intermediate"] = 4 * entries["hidden"]  # `n_inner: null` of GPT-2 and GPT-J
    if any(not isinstance(value, int) for value in entries.values()):
        return None
    tied = config.get("tie_word_embeddings", family not in ROTATED)
    return Shape(**entries, keys=config.get("num_key_value_heads") or 0, gated=family in GATED, tied=bool(tied))


def trained_shape(family: str, train: Mapping[str, Any]) -> Shape:
    """Return the shape of a model that the workflow trains, from its settings; its tokenizer may come out smaller."""
    sizes = {"layers": "layers", "hidden": "width", "intermediate": "intermediate", "heads": "heads"}
    shape = {entry: int(train[name]) for entry, name in sizes.items()}
    gated = family in GATED
    return Shape(**shape, vocabulary=int(train["vocabulary"]), positions=0 if gated else 128, gated=gated, tied=True)


def folder_shape(folder: Path) -> Shape | None:
    """Return the shape of the model in a folder; None for an unreadable configuration (loading the model says why)."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_from_config(config) if isinstance(config, dict) else None


@dataclass(frozen=True)
class Size:
    """The size of a task for one kind of model.

    Attributes:
        prompts: how many.
        groups: how many target words a paradigm has, or facts a relation.
        words: mean length of a prompt, with punctuation and the mask.
        behind: mean number of words that tracing restores: those from the cue's first word on in causal models, all in
            masked ones; 0 without a cue.
        last: mean number of words from the cue's last one on, in causal models.
    """

    prompts: float
    groups: float
    words: float
    behind: float = 0.0
    last: float = 0.0

    def share(self, prompts: float, groups: float) -> Size:
        """Limit the task to `prompts` prompts and `groups` groups."""
        return replace(self, prompts=min(self.prompts, prompts), groups=min(self.groups, groups))


def evaluated_size(size: Size, evaluated: int) -> Size:
    """Limit a task to the prompts that the study evaluates (corpora.sampling)."""
    return size.share(evaluated, size.groups)


def attributed_size(size: Size, kind: str, most: int) -> Size:
    """Limit a task to about `most` attributed prompts: whole facts, or target words with enough prompts each.

    See corpora.sampling.
    """
    if kind == "relation":
        each = size.prompts / max(1, size.groups)
        facts = min(size.groups, max(1, most // max(1, each)))
        return replace(size, prompts=facts * each, groups=facts)
    return size.share(most, max(1, most // PER_GROUP))


@dataclass
class Words:
    """A stand-in for a model's tokenizer, whose tokens are words and punctuation marks.

    Attributes:
        objective: "causal" or "masked".
    """

    objective: str
    _ids: dict[str, int] = field(default_factory=dict)

    def ids(self, text: str) -> tuple[int, ...]:
        """Return a number for each word of a text; 0 is the mask."""
        return tuple(self._ids.setdefault(word, len(self._ids) + 1) for word in WORD.findall(text))

    def encode(self, prefix: str, suffix: str, word: str, glued: bool = False) -> Encoded:
        """Encode a prompt as models.cloze.GapTokenizer does."""
        check_split(prefix, word, glued)
        before, target = self.ids(prefix), self.ids(word)
        if self.objective == "causal":
            return Encoded(before, len(before) - 1, target)
        return Encoded((*before, *(0 for _ in target), *self.ids(suffix)), len(before), target)


def count_task(task: str, objective: str, files: Mapping[str, str | Path]) -> Size:
    """Count a task from its files.

    Args:
        task: name of the task.
        objective: "causal" or "masked".
        files: the file of `pairs`, or those of `patterns` and `facts`.

    Raises:
        UserError: a file is broken.
    """
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
    lengths = [len(prompt.input_ids) for prompt in prompts]
    cued = [prompt for prompt in prompts if prompt.cue_at >= 0]
    if objective == "masked":  # tracing restores every token, wherever the cue stands
        behind, last = _mean([len(prompt.input_ids) for prompt in cued]), 0.0
    else:
        behind = _mean([len(prompt.input_ids) - len(words.ids(prompt.prefix[: prompt.cue_at])) for prompt in cued])
        last = behind - _mean([len(words.ids(prompt.cue)) for prompt in cued]) + 1 if cued else 0.0
    return Size(len(prompts), len({prompt.group for prompt in prompts}), _mean(lengths), behind, last)


def read_sizes(content: Mapping[str, Any]) -> dict[str, dict[tuple[str, str], Size]]:
    """Return each task's size per objective, by corpus ("world", "fetched"), from resources/sizes.yaml's content."""
    return {
        corpus: {(task, kind): Size(**numbers) for task, kinds in tasks.items() for kind, numbers in kinds.items()}
        for corpus, tasks in content.items()
    }


def numbers(size: Size) -> dict[str, float]:
    """Return a size as the file has it."""
    return {name: round(value, 1) if value % 1 else int(value) for name, value in asdict(size).items()}


def _mean(values: list[int]) -> float:
    return round(sum(values) / len(values), 1) if values else 0.0
