"""Types that all sections of a study's configuration are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Family = Literal["bert", "gpt2", "llama", "roberta", "gptj", "mistral", "qwen2"]
MASKED_FAMILIES = ("bert", "roberta")
TRAINED_FAMILIES = ("bert", "gpt2", "llama")  # that the workflow itself can train
MOST = 10**9  # of anything that is counted: beyond it nobody means what is written


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is not allowed: it must be a number")
    return value


Whole = Annotated[int, Field(strict=True)]  # neither true nor "1"
# YAML reads 2e-3 as a word: words that are numbers are taken. NaN and infinity are none.
Number = Annotated[float, BeforeValidator(_no_truth_value)]
Share = Annotated[Number, Field(ge=0, le=1)]
OpenShare = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[Whole, Field(ge=1, le=MOST)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
NAME, PLACE = r"^[A-Za-z0-9][A-Za-z0-9._-]*$", r"^[^\x00-\x1f\x7f]+$"
IN_WORDS = {
    NAME: "letters, digits, '.', '_' and '-', a letter or digit first",
    PLACE: "no line breaks and other control characters",
}
Text = Annotated[str, Field(strict=True)]  # not bytes
Name = Annotated[Text, Field(pattern=NAME, max_length=100)]
Word = Annotated[Text, Field(pattern=r"^[^\s\x00-\x1f\x7f]+$", max_length=100)]
Place = Annotated[Text, Field(pattern=PLACE, min_length=1, max_length=4096)]  # a path or an address
# On the hub: owner/name, and a commit, tag or branch. Both become folders of its cache: no part is "..".
HUB_ID = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$"
REVISION = r"^[A-Za-z0-9_][A-Za-z0-9_+-]*([./][A-Za-z0-9_+-]+)*$"
HubId = Annotated[Text, Field(pattern=HUB_ID, max_length=200)]
Revision = Annotated[Text, Field(pattern=REVISION, max_length=200)]


class Strict(BaseModel):
    """A section that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
