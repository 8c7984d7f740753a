"""What the figures of tracing write: tokens as people read them, few ticks, names in lines."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kn_thesis.tracing.panels import layer_ticks, wrapped
from kn_thesis.tracing.written import readable


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
    assert readable(token) == text


@pytest.mark.parametrize("layers", [1, 2, 4, 12, 24, 32, 48, 80, 500])
def test_ticks_are_few_and_even(layers: int) -> None:
    ticks = layer_ticks(layers, 8)
    assert ticks[0] == 0 and len(ticks) <= 8 and ticks[-1] < layers
    assert len({after - before for before, after in pairwise(ticks)}) <= 1
    assert layers > 8 or ticks == list(range(layers))


def test_long_names_are_broken_behind_underscores() -> None:
    assert wrapped("anaphor_number_agreement", 26) == "anaphor_number_agreement"
    assert wrapped("determiner_noun_agreement_with_adj_irregular_2", 26).split("\n") == [
        "determiner_noun_agreement_",
        "with_adj_irregular_2",
    ]
    assert wrapped("one word and others", 9, " ") == "one word\nand\nothers"
    assert wrapped("a" * 40, 26) == "a" * 40
