"""Tiny random models of each family, far from the usual start."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import Tensor

from kn_thesis.configuration.types import TRAINED_FAMILIES
from kn_thesis.models.families import FAMILIES
from kn_thesis.models.load import Model, load_model
from kn_thesis.models.tokenizer_training import save_tokenizer, train_tokenizer
from tests.helpers import tiny_tokenizers

WORDS = 40
# Every family is held against the plain algorithms; details that no family changes are looked at in these.
DETAILED = TRAINED_FAMILIES
OTHERS = tuple(family for family in FAMILIES if family not in DETAILED)
CONFIGS = {
    "bert": transformers.BertConfig,
    "roberta": transformers.RobertaConfig,
    "gpt2": transformers.GPT2Config,
    "gptj": transformers.GPTJConfig,
    "llama": transformers.LlamaConfig,
    "mistral": transformers.MistralConfig,
    "qwen2": transformers.Qwen2Config,
}
# What Llama 3.1 and later ones do to the slow turns of their positions, for few positions.
LLAMA_3 = {
    **{"rope_type": "llama3", "rope_theta": 500.0, "original_max_position_embeddings": 8},
    **{"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
}
LIKE = {"gptj": "gpt2", "qwen2": "gpt2", "mistral": "llama"}  # kinds of tokenizers


def positions_of(family: str, longest: int) -> dict[str, int]:
    """The configuration's entry for inputs of `longest` tokens; RoBERTa's first two positions are no token's."""
    if family in ("gpt2", "gptj"):
        return {"n_positions": longest}
    return {"max_position_embeddings": longest + 2 * (family == "roberta")}


def config_of(family: str, **changes: Any) -> Any:
    """Three layers of 24 neurons; `changes` are the configuration's own names."""
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "vocab_size": WORDS}
    if family in ("gpt2", "gptj"):
        shape = {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_inner": 24, "n_positions": 16}
        shape |= {"n_head": 2, "rotary_dim": 6} if family == "gptj" else {}
    else:
        shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24}
        shape |= positions_of(family, 16)
    shape |= {"num_key_value_heads": 2} if family in ("mistral", "qwen2") else {}
    special |= {"pad_token_id": 1} if family == "roberta" else {}
    return CONFIGS[family](**(shape | special | changes))


def model_of(family: str, dtype: torch.dtype = torch.float64, **changes: Any) -> SimpleNamespace:
    """A random model as the methods take it, with no tokenizer."""
    torch.manual_seed(3)
    module = FAMILIES[family].model_class()(config_of(family, **changes)).to(dtype).eval().requires_grad_(False)
    for weight in module.parameters():
        # Far from the usual start, so that biases, norms and curvature matter.
        weight.add_(torch.randn_like(weight) * (0.35 if weight.dim() > 1 else 0.2))
    exact_attention(module)
    adapter = FAMILIES[family].adapter(module)
    return SimpleNamespace(module=module, adapter=adapter, tokenizer=None, device=torch.device("cpu"))


def loaded_model(family: str, folder: Path, text: Iterable[str], positions: int = 24, **changes: Any) -> Model:
    """A random model with a tokenizer of its family's kind, trained on a text; written to a folder and loaded."""
    tokenizer = tokenizer_of(family, text, 500)
    changes |= positions_of(family, positions)
    special = {} if family == "roberta" else {"pad_token_id": None}
    model = model_of(family, **({"vocab_size": tokenizer.get_vocab_size()} | special | changes))
    model.module.save_pretrained(folder)
    save_tokenizer_of(tokenizer, family, folder, positions)
    return load_exactly(family, folder)


def tokenizer_of(family: str, text: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of the family's kind, trained on a text."""
    if family == "roberta":
        return tiny_tokenizers.roberta(text, vocabulary)
    return train_tokenizer(LIKE.get(family, family), text, vocabulary)


def save_tokenizer_of(tokenizer: Tokenizer, family: str, folder: Path, positions: int) -> None:
    """Its two files, as a model's folder has them."""
    if family == "roberta":
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(f'{{"model_max_length": {positions}, "mask_token": "<mask>"}}')
    else:
        save_tokenizer(tokenizer, LIKE.get(family, family), folder, positions)


def load_exactly(family: str, folder: Path) -> Model:
    """A model from its folder in float64, whose own forward computes in float64 throughout."""
    model = load_model(folder, dtype="float64", device="cpu")
    exact_attention(model.module)
    return model


def exact_attention(module: Any) -> None:
    """Let a GPT-J in float64 multiply queries and keys in float64: its own code does so in float32 in every dtype."""
    for part in module.modules():
        if type(part).__name__ == "GPTJAttention" and next(part.parameters()).dtype == torch.float64:
            part._attn = partial(_attended, part.scale_attn)


def _attended(scale: float, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Any, ...]:
    scores = query @ key.transpose(-1, -2) / scale
    shares = (scores if mask is None else scores + mask).softmax(-1)
    return shares @ value, shares
