"""RoBERTa (Liu et al. 2019): BERT's layers, positions counted from the padding token's, a head of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, Family
from kn_thesis.models.bert import BertAdapter
from kn_thesis.models.config import positions


class RobertaAdapter(BertAdapter):
    """A `RobertaForMaskedLM`, taken apart; see `Adapter`."""

    family = "roberta"

    def __init__(self, module: Any) -> None:
        """Take `module` (in evaluation mode) as it is; nothing is copied."""
        config, body = module.config, module.roberta
        self._embeddings, self._blocks, self._head = body.embeddings, body.encoder.layer, module.lm_head
        self._heads, self._size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        self.layers, self.width = config.num_hidden_layers, config.intermediate_size
        self.vocabulary, self.longest = config.vocab_size, positions(config.to_dict()) or 0

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Words, positions from the one after the padding token's on, and the only segment, normed."""
        words = self._embeddings.word_embeddings(input_ids)
        places = self._embeddings.create_position_ids_from_input_ids(input_ids, self._embeddings.padding_idx)
        return self._embeddings(inputs_embeds=words if noise is None else words + noise, position_ids=places)

    def output_embeddings(self) -> Tensor:
        """`lm_head.decoder.weight`."""
        return self._head.decoder.weight


def _model_class() -> Any:
    from transformers.models.roberta.modeling_roberta import RobertaForMaskedLM

    return RobertaForMaskedLM


def _adapter(module: Any) -> Adapter:
    if module.config.is_decoder:
        raise UserError("this RoBERTa is a decoder (is_decoder in its config.json): only masked RoBERTas are covered")
    if getattr(module.config, "position_embedding_type", "absolute") not in (None, "absolute"):
        raise UserError("this RoBERTa has relative positions (position_embedding_type): only absolute ones are covered")
    adapter = RobertaAdapter(module)
    if module.config.pad_token_id is None or adapter.longest < 1:
        raise UserError("this RoBERTa has no position behind its padding token's (pad_token_id in its config.json)")
    return adapter


FAMILY = Family("roberta", "masked", _model_class, _adapter)
