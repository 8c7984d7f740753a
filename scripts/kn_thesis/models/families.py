"""The families the study knows."""

from __future__ import annotations

from kn_thesis.errors import UserError
from kn_thesis.models import bert, gpt2, gptj, llama, mistral, qwen2, roberta
from kn_thesis.models.adapter import Family

# Plain imports, so that a change in an adapter is seen by the rules whose results depend on it.
_MODULES = (bert, gpt2, llama, roberta, gptj, mistral, qwen2)
FAMILIES = {module.FAMILY.name: module.FAMILY for module in _MODULES}


def family_named(name: str, where: str = "") -> Family:
    """The family of that name (Hugging Face's `model_type`); a UserError that names `where` when there is none."""
    if name not in FAMILIES:
        place = f" in {where}" if where else ""
        raise UserError(
            f"unknown family {name!r}{place}: known are {', '.join(FAMILIES)} "
            "(kn_thesis/models/adapter.py says how to add one)"
        )
    return FAMILIES[name]
