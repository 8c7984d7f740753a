"""The families that the study knows, by name."""

from __future__ import annotations

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Family
from kn_thesis.models.bert import BERT, ROBERTA
from kn_thesis.models.gpt2 import GPT2
from kn_thesis.models.gptj import GPTJ
from kn_thesis.models.llama import LLAMA, MISTRAL, QWEN2

FAMILIES = {family.name: family for family in (BERT, GPT2, LLAMA, ROBERTA, GPTJ, MISTRAL, QWEN2)}


def family_named(name: str, where: str = "") -> Family:
    """Return the family with a name.

    Args:
        name: Hugging Face's `model_type`.
        where: The file or setting that names it, for the error message.

    Raises:
        UserError: There is no such family.
    """
    if name not in FAMILIES:
        place = f" in {where}" if where else ""
        raise UserError(
            f"unknown family {name!r}{place}: known are {', '.join(FAMILIES)} "
            "(kn_thesis/models/adapter.py says how to add one)"
        )
    return FAMILIES[name]
