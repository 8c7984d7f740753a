"""The shape of a model, known before there are weights: how many layers of which width, how many parameters.

Nothing here loads a library: the workflow asks for every job while it makes its plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# What Hugging Face's configurations call each entry of a shape; the first that is there counts.
NAMES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "hidden": ("hidden_size", "n_embd"),
    "intermediate": ("intermediate_size", "n_inner"),
    "heads": ("num_attention_heads", "n_head"),
    "vocabulary": ("vocab_size",),
    "positions": ("max_position_embeddings", "n_positions"),
}
GATED = ("llama", "mistral", "qwen2")  # their MLPs have three matrices
ROTATED = (*GATED, "gptj")  # their positions are turned, not embedded, and their output matrix is usually its own


@dataclass(frozen=True)
class Shape:
    """A transformer's sizes: `hidden` is the state's width, `intermediate` the number of neurons in a layer.

    `keys` is the number of heads of keys and values (fewer than `heads` where they are shared), `gated` whether the
    MLP has a gate, `tied` whether the output's matrix is the embeddings', `positions` 0 where positions are rotated.
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
        """Matrices of one layer; biases and norms are left out (below 1 % in every family)."""
        attention = self.hidden**2 * (2 + 2 * (self.keys or self.heads) / self.heads)
        return round(attention) + self.hidden * self.intermediate * (3 if self.gated else 2)

    @property
    def projecting(self) -> float:
        """Queries', keys' and values' share of a layer's parameters."""
        return self.hidden**2 * (1 + 2 * (self.keys or self.heads) / self.heads) / self.layer_parameters

    @property
    def writing(self) -> float:
        """The value matrix's share: that which neurons are multiplied with."""
        return self.hidden * self.intermediate / self.layer_parameters

    @property
    def parameters(self) -> int:
        """All matrices: embeddings, layers, output."""
        embeddings = (self.vocabulary * (1 if self.tied else 2) + self.positions) * self.hidden
        return embeddings + self.layers * self.layer_parameters


def shape_from_config(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a model's `config.json` states, whatever its family calls them; None when an entry is missing."""
    found = {entry: next((config[name] for name in names if config.get(name)), None) for entry, names in NAMES.items()}
    family = str(config.get("model_type"))
    if family in ROTATED:
        found["positions"] = 0
    if found["intermediate"] is None and found["hidden"] and family not in GATED:
        found["intermediate"] = 4 * found["hidden"]  # GPT-2's and GPT-J's `n_inner: null`
    if any(not isinstance(value, int) for value in found.values()):
        return None
    tied = config.get("tie_word_embeddings", family not in ROTATED)
    return Shape(**found, keys=config.get("num_key_value_heads") or 0, gated=family in GATED, tied=bool(tied))


def trained_shape(family: str, train: Mapping[str, Any]) -> Shape:
    """The shape of a model that the workflow trains, from its settings (its tokenizer may come out smaller)."""
    sizes = {"layers": "layers", "hidden": "width", "intermediate": "intermediate", "heads": "heads"}
    shape = {entry: int(train[name]) for entry, name in sizes.items()}
    gated = family in GATED
    return Shape(**shape, vocabulary=int(train["vocabulary"]), positions=0 if gated else 128, gated=gated, tied=True)


def folder_shape(folder: Path) -> Shape | None:
    """The shape of the model in a folder; None when its configuration cannot be read (loading it will say why)."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_from_config(config) if isinstance(config, dict) else None
