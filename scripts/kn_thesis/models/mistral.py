"""Mistral (Jiang et al. 2023): LLaMA's layers, whose attention may see a window of the last tokens alone.

An input no longer than the window is seen whole by all of its tokens: longer ones are not taken.
"""

from __future__ import annotations

from typing import Any

from kn_thesis.models.adapter import Adapter, Family
from kn_thesis.models.config import positions
from kn_thesis.models.llama import LlamaAdapter, check_rotation


class MistralAdapter(LlamaAdapter):
    """A `MistralForCausalLM`, taken apart; see `Adapter`."""

    family = "mistral"

    def __init__(self, module: Any) -> None:
        """Take `module` (in evaluation mode) as it is; nothing is copied."""
        super().__init__(module)
        self.longest = positions(module.config.to_dict()) or 0


def _model_class() -> Any:
    from transformers.models.mistral.modeling_mistral import MistralForCausalLM

    return MistralForCausalLM


def _adapter(module: Any) -> Adapter:
    check_rotation(module, "Mistral")
    return MistralAdapter(module)


FAMILY = Family("mistral", "causal", _model_class, _adapter)
