"""Adapter of GPT-NeoX (Black et al. 2022; the family of the Pythia models): causal, partly rotary positions.

Attention and MLP are parallel: both read the hidden state that enters the layer, and both add to it. The `state`
between them therefore holds two vectors side by side: what the MLP reads, and what it adds to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kn_thesis.models.adapter import Adapter, Family


class GptNeoxAdapter:
    """A `GPTNeoXForCausalLM`, split into the steps of `Adapter`."""

    family = "gpt_neox"
    objective = "causal"

    def __init__(self, module: Any) -> None:
        """Wrap `module`, which is in evaluation mode; nothing is copied."""
        config, body = module.config, module.gpt_neox
        self._words, self._rotary, self._norm = body.embed_in, body.rotary_emb, body.final_layer_norm
        self._head = module.get_output_embeddings()
        self._blocks = body.layers
        self._parallel = config.use_parallel_residual
        self.layers, self.width = config.num_hidden_layers, config.intermediate_size
        self.vocabulary, self.longest = config.vocab_size, config.max_position_embeddings

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Word embeddings only."""
        return self._words(input_ids) if noise is None else self._words(input_ids) + noise

    def word_embeddings(self) -> Tensor:
        """`embed_in`."""
        return self._words.weight

    def output_embeddings(self) -> Tensor:
        """The output matrix."""
        return self._head.weight

    def project(self, layer: int, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Norm, one matrix for all three (head by head), queries and keys turned by their positions."""
        block = self._blocks[layer]
        attention = block.attention
        joined = attention.query_key_value(block.input_layernorm(hidden))
        queries, keys, values = joined.unflatten(-1, (-1, 3 * attention.head_size)).chunk(3, dim=-1)
        cosine, sine = (x[..., None, :] for x in self._rotary(hidden, positions.reshape(-1, positions.shape[-1])))
        return _turn(queries, cosine, sine), _turn(keys, cosine, sine), values

    def scaling(self, layer: int) -> float:
        """By the size of a head."""
        return self._blocks[layer].attention.scaling

    def attention_output(self, layer: int, context: Tensor) -> Tensor:
        """Output matrix."""
        return self._blocks[layer].attention.dense(context.flatten(-2))

    def after_attention(self, layer: int, hidden: Tensor, attention: Tensor) -> Tensor:
        """What the MLP reads and what it adds to (…, 2·hidden): the same where the sublayers follow each other."""
        added = hidden + attention
        return torch.cat((hidden if self._parallel else added, added), dim=-1)

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """Norm, first MLP matrix, activation function."""
        block = self._blocks[layer]
        read, _ = state.chunk(2, dim=-1)
        return block.mlp.act(block.mlp.dense_h_to_4h(block.post_attention_layernorm(read)))

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """Down-projection."""
        return self._blocks[layer].mlp.dense_4h_to_h(neurons)

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Residual."""
        _, added = state.chunk(2, dim=-1)
        return added + mlp

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and output matrix."""
        return self._head(self._norm(hidden))

    def block(self, layer: int) -> nn.Module:
        """A layer."""
        return self._blocks[layer]

    def down_projection(self, layer: int) -> nn.Module:
        """`mlp.dense_4h_to_h`."""
        return self._blocks[layer].mlp.dense_4h_to_h

    def down_projection_weight(self, layer: int) -> Tensor:
        """`mlp.dense_4h_to_h.weight`."""
        return self._blocks[layer].mlp.dense_4h_to_h.weight


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions of the first entries of each head: x (…, tokens, heads, size), angles (…, 1, turned)."""
    turned, rest = x.split((cosine.shape[-1], x.shape[-1] - cosine.shape[-1]), dim=-1)
    first, second = turned.chunk(2, dim=-1)
    return torch.cat((turned * cosine + torch.cat((-second, first), dim=-1) * sine, rest), dim=-1)


def _model_class() -> Any:
    from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXForCausalLM

    return GPTNeoXForCausalLM


def _adapter(module: Any) -> Adapter:
    return GptNeoxAdapter(module)


GPT_NEOX = Family("gpt_neox", "causal", _model_class, _adapter)
