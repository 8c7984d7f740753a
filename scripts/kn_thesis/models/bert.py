"""BERT (Devlin et al. 2019): masked, norms after each sublayer, a transform before the output matrix."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, Family


class BertAdapter:
    """A `BertForMaskedLM`, taken apart; see `Adapter`."""

    family = "bert"
    objective = "masked"

    def __init__(self, module: Any) -> None:
        """Take `module` (in evaluation mode) as it is; nothing is copied."""
        config = module.config
        self._embeddings, self._blocks, self._head = module.bert.embeddings, module.bert.encoder.layer, module.cls
        self._heads, self._size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        self.layers, self.width = config.num_hidden_layers, config.intermediate_size
        self.vocabulary, self.longest = config.vocab_size, config.max_position_embeddings

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Words, positions and the first segment, normed."""
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
        """Value matrix."""
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

    def value_matrix(self, layer: int) -> nn.Module:
        """`output.dense`."""
        return self._blocks[layer].output.dense

    def value_weight(self, layer: int) -> Tensor:
        """`output.dense.weight`."""
        return self._blocks[layer].output.dense.weight


def _model_class() -> Any:
    from transformers.models.bert.modeling_bert import BertForMaskedLM

    return BertForMaskedLM


def _adapter(module: Any) -> Adapter:
    if module.config.is_decoder:
        raise UserError("this BERT is a decoder (is_decoder in its config.json): only masked BERTs are covered")
    if getattr(module.config, "position_embedding_type", "absolute") not in (None, "absolute"):
        raise UserError("this BERT has relative positions (position_embedding_type): only absolute ones are covered")
    return BertAdapter(module)


FAMILY = Family("bert", "masked", _model_class, _adapter)
