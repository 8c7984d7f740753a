"""Qwen2 and Qwen2.5 (Qwen Team 2024): LLaMA's layers, with biases in queries, keys and values.

Where upper layers see a window of the last tokens alone (`use_sliding_window`), inputs longer than it are not taken.
"""

from __future__ import annotations

from typing import Any

from kn_thesis.models.adapter import Adapter, Family
from kn_thesis.models.config import positions
from kn_thesis.models.llama import LlamaAdapter, check_rotation


class Qwen2Adapter(LlamaAdapter):
    """A `Qwen2ForCausalLM`, taken apart; see `Adapter`."""

    family = "qwen2"

    def __init__(self, module: Any) -> None:
        """Take `module` (in evaluation mode) as it is; nothing is copied."""
        super().__init__(module)
        self.longest = positions(module.config.to_dict()) or 0


def _model_class() -> Any:
    from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM

    return Qwen2ForCausalLM


def _adapter(module: Any) -> Adapter:
    check_rotation(module, "Qwen2")
    return Qwen2Adapter(module)


FAMILY = Family("qwen2", "causal", _model_class, _adapter)
