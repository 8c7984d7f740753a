"""Adapter of GPT-J (Wang and Komatsuzaki 2021): causal, attention and MLP in parallel after one common norm.

Attention and MLP both read the hidden state that enters the layer, and both add to it. The `state` between them
therefore holds two vectors: what the MLP reads, and what it adds to. transformers has no SDPA for GPT-J. Its own code
multiplies queries and keys in float32 whatever the dtype, as `attend` does, and rounds the attention weights once more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, Family


class GptjAdapter:
    """A `GPTJForCausalLM`, split into the steps of `Adapter`."""

    family = "gptj"
    objective = "causal"

    def __init__(self, module: Any) -> None:
        """Wrap `module`, which is in evaluation mode; nothing is copied."""
        config, body = module.config, module.transformer
        self._words, self._blocks, self._norm, self._head = body.wte, body.h, body.ln_f, module.lm_head
        self._heads, self._turned = config.n_head, config.rotary_dim
        self.layers, self.width = config.n_layer, config.n_inner if config.n_inner is not None else 4 * config.n_embd
        self.vocabulary, self.longest = config.vocab_size, config.n_positions

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Word embeddings only."""
        return self._words(input_ids) if noise is None else self._words(input_ids) + noise

    def word_embeddings(self) -> Tensor:
        """`wte`."""
        return self._words.weight

    def output_embeddings(self) -> Tensor:
        """`lm_head.weight`."""
        return self._head.weight

    def project(self, layer: int, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Norm, three matrices, the first entries of queries and keys turned by their positions."""
        block = self._blocks[layer]
        attention, normed = block.attn, block.ln_1(hidden)
        queries, keys, values = (
            f(normed).unflatten(-1, (self._heads, -1)) for f in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        sine, cosine = (
            x.repeat_interleave(2, dim=-1)[..., None, :]
            for x in attention.embed_positions[positions].to(hidden.dtype).chunk(2, dim=-1)
        )
        queries, keys = (_turn(x, cosine, sine) for x in (queries, keys))
        return queries, keys, values

    def scaling(self, layer: int) -> float:
        """By the size of a head."""
        return 1 / self._blocks[layer].attn.scale_attn

    def attention_output(self, layer: int, context: Tensor) -> Tensor:
        """Output matrix."""
        return self._blocks[layer].attn.out_proj(context.flatten(-2))

    def after_attention(self, layer: int, hidden: Tensor, attention: Tensor) -> Tensor:
        """What the MLP reads and what it adds to (…, 2·hidden)."""
        return torch.cat((hidden, hidden + attention), dim=-1)

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """The attention's norm, first MLP matrix, activation function."""
        return self.activated(layer, self.preactivation(layer, state), state)

    def preactivation(self, layer: int, state: Tensor) -> Tensor:
        """Norm, first MLP matrix: `mlp.fc_in`'s output."""
        block = self._blocks[layer]
        read, _ = state.chunk(2, dim=-1)
        return block.mlp.fc_in(block.ln_1(read))

    def activated(self, layer: int, preactivation: Tensor, state: Tensor) -> Tensor:
        """Activation function."""
        return self._blocks[layer].mlp.act(preactivation)

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """Down-projection."""
        return self._blocks[layer].mlp.fc_out(neurons)

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Residual."""
        _, added = state.chunk(2, dim=-1)
        return added + mlp

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and output matrix with its bias."""
        return self._head(self._norm(hidden))

    def block(self, layer: int) -> nn.Module:
        """A layer."""
        return self._blocks[layer]

    def down_projection(self, layer: int) -> nn.Module:
        """`mlp.fc_out`."""
        return self._blocks[layer].mlp.fc_out

    def down_projection_weight(self, layer: int) -> Tensor:
        """`mlp.fc_out.weight`."""
        return self._blocks[layer].mlp.fc_out.weight


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions of each head's first entries, in pairs: x (…, tokens, heads, size), angles (…, 1, turned)."""
    turned, rest = x.split((cosine.shape[-1], x.shape[-1] - cosine.shape[-1]), dim=-1)
    across = torch.stack((-turned[..., 1::2], turned[..., ::2]), dim=-1).flatten(-2)
    return torch.cat((turned * cosine + across * sine, rest), dim=-1)


def _model_class() -> Any:
    from transformers.models.gptj.modeling_gptj import GPTJForCausalLM

    return GPTJForCausalLM


def _adapter(module: Any) -> Adapter:
    size, turned = module.config.n_embd // module.config.n_head, module.config.rotary_dim
    if not turned or turned % 2 or turned > size:
        raise UserError(
            f"this GPT-J turns {turned} of its heads' {size} entries (rotary_dim in its config.json): an even number"
            f" from 2 to {size} is covered"
        )
    return GptjAdapter(module)


GPTJ = Family("gptj", "causal", _model_class, _adapter)
