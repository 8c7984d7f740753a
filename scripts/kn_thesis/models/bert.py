"""Adapters of BERT and RoBERTa, both masked.

BERT (Devlin et al. 2019) has a norm after each sublayer, and a transform before the output matrix. RoBERTa (Liu et al.
2019) has the same layers, counts positions from the one after the padding token's, and has another output head.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, Family
from kn_thesis.models.config import positions


class BertAdapter:
    """A `BertForMaskedLM`, split into the steps of `Adapter`."""

    family = "bert"
    objective = "masked"

    def __init__(self, module: Any) -> None:
        """Wrap `module`, which is in evaluation mode; nothing is copied."""
        config = module.config
        self._embeddings, self._blocks, self._head = module.bert.embeddings, module.bert.encoder.layer, module.cls
        self._heads, self._size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        self.layers, self.width = config.num_hidden_layers, config.intermediate_size
        self.vocabulary, self.longest = config.vocab_size, config.max_position_embeddings

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Word, position and segment embeddings, normed."""
        words = self._embeddings.word_embeddings(input_ids)
        return self._embeddings(inputs_embeds=words if noise is None else words + noise)

    def word_embeddings(self) -> Tensor:
        """`word_embeddings`."""
        return self._embeddings.word_embeddings.weight

    def output_embeddings(self) -> Tensor:
        """`cls.predictions.decoder.weight`."""
        return self._head.predictions.decoder.weight

    def project(self, layer: int, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three matrices; positions are in the embeddings."""
        attention = self._blocks[layer].attention.self
        shape = (*hidden.shape[:-1], self._heads, self._size)
        queries, keys, values = (f(hidden).view(shape) for f in (attention.query, attention.key, attention.value))
        return queries, keys, values

    def scaling(self, layer: int) -> float:
        """By the size of a head."""
        return self._blocks[layer].attention.self.scaling

    def attention_output(self, layer: int, context: Tensor) -> Tensor:
        """Output matrix."""
        return self._blocks[layer].attention.output.dense(context.flatten(-2))

    def after_attention(self, layer: int, hidden: Tensor, attention: Tensor) -> Tensor:
        """Residual, norm."""
        return self._blocks[layer].attention.output.LayerNorm(attention + hidden)

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """GELU (or what the configuration names) of the first MLP matrix."""
        return self._blocks[layer].intermediate(state)

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """Down-projection."""
        return self._blocks[layer].output.dense(neurons)

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Residual, norm."""
        return self._blocks[layer].output.LayerNorm(mlp + state)

    def logits(self, hidden: Tensor) -> Tensor:
        """The head's transform and output matrix with its bias, tied to the embeddings or not."""
        return self._head(hidden)

    def block(self, layer: int) -> nn.Module:
        """A layer."""
        return self._blocks[layer]

    def down_projection(self, layer: int) -> nn.Module:
        """`output.dense`."""
        return self._blocks[layer].output.dense

    def down_projection_weight(self, layer: int) -> Tensor:
        """`output.dense.weight`."""
        return self._blocks[layer].output.dense.weight


class RobertaAdapter(BertAdapter):
    """A `RobertaForMaskedLM`, split into the steps of `Adapter`."""

    family = "roberta"

    def __init__(self, module: Any) -> None:
        """Wrap `module`, which is in evaluation mode; nothing is copied."""
        config, body = module.config, module.roberta
        self._embeddings, self._blocks, self._head = body.embeddings, body.encoder.layer, module.lm_head
        self._heads, self._size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        self.layers, self.width = config.num_hidden_layers, config.intermediate_size
        self.vocabulary, self.longest = config.vocab_size, positions(config.to_dict()) or 0

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Word, position and segment embeddings, normed; the first position is the one after the padding token's."""
        words = self._embeddings.word_embeddings(input_ids)
        places = self._embeddings.create_position_ids_from_input_ids(input_ids, self._embeddings.padding_idx)
        return self._embeddings(inputs_embeds=words if noise is None else words + noise, position_ids=places)

    def output_embeddings(self) -> Tensor:
        """`lm_head.decoder.weight`."""
        return self._head.decoder.weight


def _bert_class() -> Any:
    from transformers.models.bert.modeling_bert import BertForMaskedLM

    return BertForMaskedLM


def _roberta_class() -> Any:
    from transformers.models.roberta.modeling_roberta import RobertaForMaskedLM

    return RobertaForMaskedLM


def _bert_adapter(module: Any) -> Adapter:
    _check_config(module.config, "BERT")
    return BertAdapter(module)


def _roberta_adapter(module: Any) -> Adapter:
    _check_config(module.config, "RoBERTa")
    adapter = RobertaAdapter(module)
    if module.config.pad_token_id is None or adapter.longest < 1:
        raise UserError("this RoBERTa has no position after its padding token's (pad_token_id in its config.json)")
    return adapter


def _check_config(config: Any, name: str) -> None:
    """Raise UserError for what the adapters do not cover."""
    if config.is_decoder:
        raise UserError(f"this {name} is a decoder (is_decoder in its config.json): only masked {name}s are covered")
    if getattr(config, "position_embedding_type", "absolute") not in (None, "absolute"):
        raise UserError(f"this {name} has relative positions (position_embedding_type): only absolute ones are covered")


BERT = Family("bert", "masked", _bert_class, _bert_adapter)
ROBERTA = Family("roberta", "masked", _roberta_class, _roberta_adapter)
