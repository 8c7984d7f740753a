"""A cue's tokens, whatever the kind of tokenizer: they read as the cue, and no token beside them does."""

from __future__ import annotations

import pytest

from kn_thesis.errors import UserError
from kn_thesis.models.cloze import GapTokenizer, cue_tokens
from kn_thesis.models.families import FAMILIES
from tests.helpers.tiny_models import config_of, positions_of, save_tokenizer_of, tokenizer_of
from tests.helpers.tiny_tokenizers import TEXT

CASES = [
    ("The capital of Italy is", "", "Rome", "Italy"),
    ("The old man near the women admires", " vases.", "this", "The old man"),
    ("The man and the manager admire", " vases.", "this", "manager"),
    ("The", " of Italy is Rome.", "capital", "The"),
]


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GapTokenizer:
    folder = tmp_path_factory.mktemp(request.param)
    save_tokenizer_of(tokenizer_of(request.param, TEXT, 400), request.param, folder, 32)
    config_of(request.param, **positions_of(request.param, 32)).save_pretrained(folder)
    return GapTokenizer.from_folder(folder)


@pytest.mark.parametrize(("prefix", "suffix", "target", "cue"), CASES)
def test_the_tokens_read_as_the_cue(tokenizer: GapTokenizer, prefix: str, suffix: str, target: str, cue: str) -> None:
    ids = tokenizer.encode(prefix, suffix, target).input_ids
    first, last = cue_tokens(tokenizer, prefix, suffix, target, cue)
    assert tokenizer.tokenizer.decode(list(ids[first:last])).strip() == cue
    assert last - first == 1 or tokenizer.tokenizer.decode(list(ids[first + 1 : last])).strip() != cue


def test_a_cue_behind_the_gap_is_seen_by_masked_models_alone(tokenizer: GapTokenizer) -> None:
    asked = (tokenizer, "The man admires", " old vases.", "this", "vases")
    if tokenizer.objective == "causal":
        with pytest.raises(UserError, match="'vases' is not in the prompt"):
            cue_tokens(*asked)
        return
    first, last = cue_tokens(*asked)
    ids = tokenizer.encode(*asked[1:4]).input_ids
    assert tokenizer.tokenizer.decode(list(ids[first:last])).strip() == "vases"


@pytest.mark.parametrize(("cue", "said"), [("", "the cue is empty"), ("Spain", "not in the prompt"), ("ma", "not in")])
def test_bad_cues_are_one_line(tokenizer: GapTokenizer, cue: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        cue_tokens(tokenizer, "The man admires", "", "this", cue)
