"""Adapters of LLaMA, Mistral and Qwen2, all causal with rotary positions, grouped queries and a gated MLP.

The MLP of LLaMA (Touvron et al. 2023; Llama 3 too) is act(gate)·up. Mistral (Jiang et al. 2023) has LLaMA's layers.
Qwen2 and Qwen2.5 (Qwen Team 2024) add biases to queries, keys and values.

The attention of Mistral, and of Qwen2's upper layers with `use_sliding_window`, sees only a window of the last tokens.
Inputs longer than the window are refused; in shorter ones every token sees all tokens before it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, Family
from kn_thesis.models.config import positions


class LlamaAdapter:
    """A `LlamaForCausalLM`, split into the steps of `Adapter`."""

    family = "llama"
    objective = "causal"

    def __init__(self, module: Any) -> None:
        """Wrap `module`, which is in evaluation mode; nothing is copied."""
        config, body = module.config, module.model
        self._words, self._rotary, self._blocks = body.embed_tokens, body.rotary_emb, body.layers
        self._norm, self._head = body.norm, module.lm_head
        self.layers, self.width = config.num_hidden_layers, config.intermediate_size
        self.vocabulary, self.longest = config.vocab_size, config.max_position_embeddings

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Word embeddings only."""
        return self._words(input_ids) if noise is None else self._words(input_ids) + noise

    def word_embeddings(self) -> Tensor:
        """`embed_tokens`."""
        return self._words.weight

    def output_embeddings(self) -> Tensor:
        """`lm_head.weight`."""
        return self._head.weight

    def project(self, layer: int, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Norm, three matrices, queries and keys turned by their positions."""
        block = self._blocks[layer]
        attention, normed = block.self_attn, block.input_layernorm(hidden)
        queries, keys, values = (
            f(normed).unflatten(-1, (-1, attention.head_dim))
            for f in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        cosine, sine = (x[..., None, :] for x in self._rotary(hidden, positions.reshape(-1, positions.shape[-1])))
        return _turn(queries, cosine, sine), _turn(keys, cosine, sine), values

    def scaling(self, layer: int) -> float:
        """By the size of a head."""
        return self._blocks[layer].self_attn.scaling

    def attention_output(self, layer: int, context: Tensor) -> Tensor:
        """Output matrix."""
        return self._blocks[layer].self_attn.o_proj(context.flatten(-2))

    def after_attention(self, layer: int, hidden: Tensor, attention: Tensor) -> Tensor:
        """Residual."""
        return hidden + attention

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """Norm, then the activation of the gate times the up projection."""
        block = self._blocks[layer]
        normed = block.post_attention_layernorm(state)
        return block.mlp.act_fn(block.mlp.gate_proj(normed)) * block.mlp.up_proj(normed)

    def preactivation(self, layer: int, state: Tensor) -> Tensor:
        """Norm, gate: `mlp.gate_proj`'s output."""
        block = self._blocks[layer]
        return block.mlp.gate_proj(block.post_attention_layernorm(state))

    def activated(self, layer: int, preactivation: Tensor, state: Tensor) -> Tensor:
        """Activation of the gate times the up projection."""
        block = self._blocks[layer]
        return block.mlp.act_fn(preactivation) * block.mlp.up_proj(block.post_attention_layernorm(state))

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """Down-projection."""
        return self._blocks[layer].mlp.down_proj(neurons)

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
        """`mlp.down_proj`."""
        return self._blocks[layer].mlp.down_proj

    def down_projection_weight(self, layer: int) -> Tensor:
        """`mlp.down_proj.weight`."""
        return self._blocks[layer].mlp.down_proj.weight


class MistralAdapter(LlamaAdapter):
    """A `MistralForCausalLM`, split into the steps of `Adapter`."""

    family = "mistral"

    def __init__(self, module: Any) -> None:
        """Wrap `module`, which is in evaluation mode; nothing is copied."""
        super().__init__(module)
        self.longest = positions(module.config.to_dict()) or 0


class Qwen2Adapter(MistralAdapter):
    """A `Qwen2ForCausalLM`, split into the steps of `Adapter`."""

    family = "qwen2"


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021): x (…, tokens, heads, size), angles (rows or 1, tokens or 1, 1, size)."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


def _llama_class() -> Any:
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    return LlamaForCausalLM


def _mistral_class() -> Any:
    from transformers.models.mistral.modeling_mistral import MistralForCausalLM

    return MistralForCausalLM


def _qwen2_class() -> Any:
    from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM

    return Qwen2ForCausalLM


def _llama_adapter(module: Any) -> Adapter:
    _check_rotation(module, "LLaMA")
    return LlamaAdapter(module)


def _mistral_adapter(module: Any) -> Adapter:
    _check_rotation(module, "Mistral")
    return MistralAdapter(module)


def _qwen2_adapter(module: Any) -> Adapter:
    _check_rotation(module, "Qwen2")
    return Qwen2Adapter(module)


def _check_rotation(module: Any, name: str) -> None:
    """Raise UserError for rotary positions whose angles depend on the length of the whole input."""
    if (getattr(module.config, "rope_parameters", None) or {}).get("rope_type") == "longrope":
        raise UserError(f"this {name}'s positions depend on the input's length (rope_type longrope): not covered")


LLAMA = Family("llama", "causal", _llama_class, _llama_adapter)
MISTRAL = Family("mistral", "causal", _mistral_class, _mistral_adapter)
QWEN2 = Family("qwen2", "causal", _qwen2_class, _qwen2_adapter)
