"""What the figures of tracing write: tokens as people read them, few ticks, names in lines."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kn_thesis.tracing.figures import layer_ticks, wrap_text
from kn_thesis.tracing.prose import readable_token


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("Ġthe", "the"),
        ("▁the", "the"),
        ("##ing", "##ing"),
        ("[CLS]", "[CLS]"),
        ("<s>", "<s>"),
        ("Ã©", "é"),  # a byte-level "é"
        ("ĠJosÃ©", "José"),
        ("é", "é"),  # and one that is itself
        ("Ġ", "␣"),
        ("▁", "␣"),
        ("Ċ", "⏎"),
        ("Ã", "Ã"),  # half of a letter
        ("是", "是"),
    ],
)
def test_tokens_are_readable(token: str, text: str) -> None:
    assert readable_token(token) == text


@pytest.mark.parametrize("layers", [1, 2, 4, 12, 24, 32, 48, 80, 500])
def test_ticks_are_few_and_even(layers: int) -> None:
    ticks = layer_ticks(layers, 8)
    assert ticks[0] == 0 and len(ticks) <= 8 and ticks[-1] < layers
    assert len({after - before for before, after in pairwise(ticks)}) <= 1
    assert layers > 8 or ticks == list(range(layers))


def test_long_names_are_broken_behind_underscores() -> None:
    assert wrap_text("anaphor_number_agreement", 26) == "anaphor_number_agreement"
    assert wrap_text("determiner_noun_agreement_with_adj_irregular_2", 26).split("\n") == [
        "determiner_noun_agreement_",
        "with_adj_irregular_2",
    ]
    assert wrap_text("one word and others", 9, " ") == "one word\nand\nothers"
    assert wrap_text("a" * 40, 26) == "a" * 40
