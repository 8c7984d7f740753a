"""Tiny random models of each family, far from the usual start."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from kn_thesis.models.families import FAMILIES
from kn_thesis.models.load import Model, load_model
from kn_thesis.models.tokenization import save_tokenizer, train_tokenizer

WORDS = 40


def config_of(family: str, **changes: Any) -> Any:
    """Three layers of 24 neurons; `changes` are the configuration's own names."""
    from transformers import BertConfig, GPT2Config, LlamaConfig

    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "vocab_size": WORDS}
    if family == "gpt2":
        shape = {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_inner": 24, "n_positions": 16}
        return GPT2Config(**(shape | special | changes))
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24}
    shape |= {"max_position_embeddings": 16}
    return (BertConfig if family == "bert" else LlamaConfig)(**(shape | special | changes))


def model_of(family: str, dtype: torch.dtype = torch.float64, **changes: Any) -> SimpleNamespace:
    """A random model as the methods take it, with no tokenizer."""
    torch.manual_seed(3)
    module = FAMILIES[family].model_class()(config_of(family, **changes)).to(dtype).eval().requires_grad_(False)
    for weight in module.parameters():
        # Far from the usual start, so that biases, norms and curvature matter.
        weight.add_(torch.randn_like(weight) * (0.35 if weight.dim() > 1 else 0.2))
    adapter = FAMILIES[family].adapter(module)
    return SimpleNamespace(module=module, adapter=adapter, tokenizer=None, device=torch.device("cpu"))


def loaded_model(family: str, folder: Path, text: Iterable[str], positions: int = 24, **changes: Any) -> Model:
    """A random model with a tokenizer of its family's kind, trained on a text; written to a folder and loaded."""
    tokenizer = train_tokenizer(family, text, 500)
    changes |= {"n_positions" if family == "gpt2" else "max_position_embeddings": positions}
    model = model_of(family, vocab_size=tokenizer.get_vocab_size(), pad_token_id=None, **changes)
    model.module.save_pretrained(folder)
    save_tokenizer(tokenizer, family, folder, positions)
    # LLaMA's eager attention has its softmax in float32 whatever the dtype.
    return load_model(folder, dtype="float64", device="cpu", attention="sdpa")
