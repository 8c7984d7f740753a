"""Adapter of GPT-2 (Radford et al. 2019): causal, a norm before each sublayer, learned positions, joint q, k and v."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, Family


class Gpt2Adapter:
    """A `GPT2LMHeadModel`, split into the steps of `Adapter`."""

    family = "gpt2"
    objective = "causal"

    def __init__(self, module: Any) -> None:
        """Wrap `module`, which is in evaluation mode; nothing is copied."""
        config, body = module.config, module.transformer
        self._words, self._places, self._blocks, self._norm = body.wte, body.wpe, body.h, body.ln_f
        self._head = module.lm_head
        self._heads, self._size = config.n_head, config.n_embd // config.n_head
        self.layers, self.width = config.n_layer, config.n_inner if config.n_inner is not None else 4 * config.n_embd
        self.vocabulary, self.longest = config.vocab_size, config.n_positions

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Word and position embeddings."""
        words = self._words(input_ids) if noise is None else self._words(input_ids) + noise
        return words + self._places(torch.arange(input_ids.shape[-1], device=input_ids.device))

    def word_embeddings(self) -> Tensor:
        """`wte`."""
        return self._words.weight

    def output_embeddings(self) -> Tensor:
        """`lm_head.weight`."""
        return self._head.weight

    def project(self, layer: int, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Norm, then one matrix."""
        block = self._blocks[layer]
        shape = (*hidden.shape[:-1], self._heads, self._size)
        queries, keys, values = (x.view(shape) for x in block.attn.c_attn(block.ln_1(hidden)).chunk(3, dim=-1))
        return queries, keys, values

    def scaling(self, layer: int) -> float:
        """Includes every scaling that the configuration names."""
        return self._blocks[layer].attn.scaling

    def attention_output(self, layer: int, context: Tensor) -> Tensor:
        """Output matrix."""
        return self._blocks[layer].attn.c_proj(context.flatten(-2))

    def after_attention(self, layer: int, hidden: Tensor, attention: Tensor) -> Tensor:
        """Residual."""
        return hidden + attention

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """Norm, first MLP matrix, activation function."""
        return self.activated(layer, self.preactivation(layer, state), state)

    def preactivation(self, layer: int, state: Tensor) -> Tensor:
        """Norm, first MLP matrix: `mlp.c_fc`'s output."""
        block = self._blocks[layer]
        return block.mlp.c_fc(block.ln_2(state))

    def activated(self, layer: int, preactivation: Tensor, state: Tensor) -> Tensor:
        """Activation function."""
        return self._blocks[layer].mlp.act(preactivation)

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """Down-projection."""
        return self._blocks[layer].mlp.c_proj(neurons)

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Residual."""
        return state + mlp

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and output matrix, tied to the embeddings or not."""
        return self._head(self._norm(hidden))

    def block(self, layer: int) -> nn.Module:
        """A layer."""
        return self._blocks[layer]

    def down_projection(self, layer: int) -> nn.Module:
        """`mlp.c_proj`."""
        return self._blocks[layer].mlp.c_proj

    def down_projection_weight(self, layer: int) -> Tensor:
        """`mlp.c_proj.weight`, which GPT-2 stores transposed."""
        return self._blocks[layer].mlp.c_proj.weight.T


def _model_class() -> Any:
    from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

    return GPT2LMHeadModel


def _adapter(module: Any) -> Adapter:
    if module.config.add_cross_attention:
        raise UserError("this GPT-2 has cross-attention (add_cross_attention in its config.json): that is not covered")
    return Gpt2Adapter(module)


GPT2 = Family("gpt2", "causal", _model_class, _adapter)
