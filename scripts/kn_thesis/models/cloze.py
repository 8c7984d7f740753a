"""Cloze prompts in a model's own tokens: a text with one blank, the word that fills it, and where they lie.

`GapTokenizer.encode` tokenizes the whole filled text and cuts it at the blank by the tokens' offsets. The word so gets
the tokens that it has in running text ("Ġthis", "▁this"), never a token for the beginning of a sentence, with any
kind of tokenizer. `steps` lists the predictions that a target of several tokens takes. `cue_tokens` and `token_span`
locate words in the encoded prompt, also by offsets. Needs `tokenizers`, not transformers or torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kn_thesis.corpora.blanks import (
    BLANK,
    CannotExpress,
    before_end,
    before_gap,
    check_split,
    fill_blank,
    find_words,
    is_unspaced,
)
from kn_thesis.errors import UserError
from kn_thesis.inputs import parse_json, read_user_text
from kn_thesis.models.config import AGAIN, positions, read_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from kn_thesis.models.load import Model


MASKED = ("bert", "roberta", "distilbert", "electra", "albert", "deberta", "deberta-v2", "xlm-roberta", "modernbert")
MASK_TOKENS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens.

    Attributes:
        input_ids: For a masked model, with as many masks as the target has tokens; for a causal one, the text before
            the blank.
        gap: The mask position: the first mask, or the last token of a causal model's prompt. It predicts the target's
            first token.
        target_ids: The word that fills the blank.
    """

    input_ids: tuple[int, ...]
    gap: int
    target_ids: tuple[int, ...]


def encoded_from(input_ids: Sequence[int], gap: int, target_ids: Sequence[int]) -> Encoded:
    """Return the prompt in a row of a table of prompts, whose numbers are numpy's."""
    return Encoded(tuple(map(int, input_ids)), int(gap), tuple(map(int, target_ids)))


class Tokens(NamedTuple):
    """A text in tokens.

    Attributes:
        ids: Token ids.
        offsets: Where each token begins and ends in the text, in characters.
        special: 1 for tokens that the tokenizer added, else 0.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    special: list[int]


class Step(NamedTuple):
    """One token of a target.

    Attributes:
        input_ids: What the model sees.
        gap: The position that predicts the token.
        token: The token to predict.
    """

    input_ids: tuple[int, ...]
    gap: int
    token: int


def steps(encoded: Encoded, objective: str) -> Iterator[Step]:
    """Yield the target's tokens one by one, each with the tokens before it filled in (teacher forcing)."""
    ids, gap, target = tuple(encoded.input_ids), encoded.gap, tuple(encoded.target_ids)
    for j, token in enumerate(target):
        seen = ids + target[:j] if objective == "causal" else ids[:gap] + target[:j] + ids[gap + j :]
        yield Step(seen, gap + j, token)


@dataclass(frozen=True)
class GapTokenizer:
    """Encodes texts with a blank.

    Attributes:
        tokenizer: The model's own.
        objective: "masked" or "causal".
        mask_id: Id of the mask token; None for causal models.
        max_length: Maximum number of tokens; None where no limit is known.
    """

    tokenizer: Tokenizer
    objective: str
    mask_id: int | None = None
    max_length: int | None = None

    @classmethod
    def from_folder(cls, folder: str | Path) -> GapTokenizer:
        """Read tokenizer.json, tokenizer_config.json, and the family in model.json or config.json.

        Raises:
            UserError: A file is missing or unreadable, or a masked model has no mask token.
        """
        folder = Path(folder)
        config, model = _json(folder / "config.json"), _json(folder / "model.json")
        settings = _json(folder / "tokenizer_config.json")
        family = model.get("family") or config.get("model_type")
        if not family:
            raise UserError(f"{folder}: neither model.json nor config.json names the model's family: add one of them")
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"{path}: there is no such file: the model needs a fast tokenizer (tokenizer.json)")
        tokenizer = read_tokenizer(path)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        longest = settings.get("model_max_length")
        if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int | float) or longest < 1):
            raise UserError(f"{folder / 'tokenizer_config.json'}: model_max_length is a number of tokens, 1 or more")
        limits = [longest, positions(config)]
        # Tokenizers without a limit say 10³⁰.
        known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 10**9]
        objective = "masked" if family in MASKED else "causal"
        mask = _mask_id(tokenizer, settings) if objective == "masked" else None
        if objective == "masked" and mask is None:
            raise UserError(
                f"{folder}: the tokenizer of a masked model has no mask token: name it in tokenizer_config.json"
            )
        return cls(tokenizer, objective, mask, min(known, default=None))

    def encode(self, prefix: str, suffix: str, target: str, glued: bool = False) -> Encoded:
        """Encode the text `prefix` + `target` + `suffix`.

        The target has all the tokens that the text has for it and for the space before it, even if that space is a
        token of its own. A causal model does not see the suffix; in a script without spaces, the suffix must not
        change the tokens before it.

        Args:
            prefix: The text before the blank. One space follows it, unless it is empty or `glued`.
            suffix: The text after the blank, with its own leading space, if any.
            target: The word that fills the blank; spaces around it are ignored.
            glued: Whether the target follows the prefix without a space.

        Raises:
            CannotExpress: The model's tokens cannot express the prompt.
        """
        target = target.strip()
        if not target:
            raise CannotExpress("no word for the gap")
        check_split(prefix, target, glued)
        before = fill_blank(prefix, "", glued)
        start, end = len(before), len(before) + len(target)
        text = f"{before}{target}{suffix if self.objective == 'masked' else ''}"
        self._check_marks(text)
        ids, offsets, special = self.read(text)
        if self.mask_id in ids:
            raise CannotExpress("more than one gap")
        if not all(special) and self.unknown_id is not None and self.unknown_id in ids:
            inside = any(i == self.unknown_id and b > start and a < end for i, (a, b) in zip(ids, offsets, strict=True))
            raise CannotExpress("unknown word" if inside else "unknown word around the gap")
        first, last = _span(offsets, special, start, end, text)
        first = self._first(ids, special, first, before)
        if not _covered(offsets, text):  # a tokenizer without an unknown token drops what it does not know
            raise CannotExpress("unknown word")
        target_ids = tuple(ids[first:last])
        self._check_target(target_ids, target)
        read = len(ids) if self.objective == "masked" else last  # what the tokenizer appends is not read
        if self.max_length is not None and read > self.max_length:
            raise CannotExpress("prompt is too long")
        if self.objective == "masked":
            masks = (self.mask_id,) * len(target_ids)
            return Encoded((*ids[:first], *masks, *ids[last:]), first, target_ids)  # type: ignore[arg-type]
        if first == 0:
            raise CannotExpress("nothing before the gap")
        if is_unspaced(suffix[:1]) and self.read(text + suffix).ids[:last] != ids[:last]:
            raise CannotExpress("tokens merge across the gap")
        return Encoded(tuple(ids[:first]), first - 1, target_ids)

    def encode_prompt(self, text: str, target: str) -> Encoded:
        """Encode a text with a blank (___) or the mask token; for causal models also a text to be continued.

        Raises:
            CannotExpress: The model's tokens cannot express the prompt, or a causal model's text has words after the
                blank.
        """
        prefix, suffix, glued = self.around_gap(text)
        return self.encode(prefix, suffix, target, glued)

    def around_gap(self, text: str) -> tuple[str, str, bool]:
        """Split such a text into the arguments of `encode`: prefix, suffix, and whether the target is glued.

        A blank is three or more underscores. One space before it belongs to the target; without a space the target is
        glued to the prefix. In a text without a blank, its last characters decide (see `corpora.blanks`).

        Raises:
            CannotExpress: The text has no blank, more than one, or a causal model's text goes on after it.
        """
        mask = self._mask_token()
        prefix, *suffixes = re.split(f"{BLANK.pattern}|{re.escape(mask)}" if mask else BLANK.pattern, text)
        if not suffixes and self.objective == "masked":
            raise CannotExpress("no gap")
        self._check_marks(text)
        if len(suffixes) > 1:
            raise CannotExpress("more than one gap")
        if suffixes and self.objective == "causal" and any(character.isalnum() for character in suffixes[0]):
            raise CannotExpress("gap is not at the end")
        prefix, glued = before_gap(prefix) if suffixes else before_end(prefix)
        return prefix, suffixes[0] if suffixes else "", glued

    def read(self, text: str) -> Tokens:
        """Tokenize a text, with the special tokens that the tokenizer puts around it.

        A text that already begins or ends with these does not get them twice.
        """
        whole = self.tokenizer.encode(text)
        ids, offsets, special = whole.ids, whole.offsets, whole.special_tokens_mask
        content = [place for place, mark in enumerate(special) if not mark]
        if not content:
            return Tokens(ids, offsets, special)
        first, last = content[0], content[-1] + 1
        ending = ids[last:]
        start = first if first and ids[first : 2 * first] == ids[:first] else 0
        stop = last if ending and ids[last - len(ending) : last] == ending else len(ids)
        return Tokens(ids[start:stop], offsets[start:stop], special[start:stop])

    def begin(self, text: str) -> list[int]:
        """Tokenize a text to be continued: without the special tokens that the tokenizer appends."""
        ids, _, special = self.read(text)
        while special and special[-1]:
            ids, special = ids[:-1], special[:-1]
        return ids

    def beginning(self, text: str) -> str:
        """Return the special tokens that a text begins with, if the tokenizer puts the same before any text."""
        whole = self.tokenizer.encode(text)
        first = next((place for place, mark in enumerate(whole.special_tokens_mask) if not mark), 0)
        if not first or whole.ids[first : 2 * first] != whole.ids[:first]:
            return ""
        return text[: whole.offsets[2 * first - 1][1]]

    @property
    def unknown_id(self) -> int | None:
        """Id of the unknown token; None if there is none."""
        token = getattr(self.tokenizer.model, "unk_token", None)
        return self.tokenizer.token_to_id(token) if token else None

    def _mask_token(self) -> str | None:
        return None if self.mask_id is None else self.tokenizer.id_to_token(self.mask_id)

    def _check_marks(self, text: str) -> None:
        """Raise CannotExpress for the mask token of another model, which would be read as text."""
        if any(mark in text for mark in MASK_TOKENS if mark != self._mask_token()):
            masked = self.objective == "masked"
            raise CannotExpress("mask token of another model" if masked else "a causal model has no mask token")

    def _first(self, ids: list[int], special: list[int], first: int, before: str) -> int:
        """Return the target's first token: the first to cover a letter of it, or a token for the space before that.

        The tokens before it must be those of the prefix alone.
        """
        content = [i for i, s in zip(ids[:first], special, strict=False) if not s]
        prefix = before.removesuffix(" ")
        alone = self.tokenizer.encode(prefix, add_special_tokens=False).ids if prefix else []
        if content == alone:
            return first
        parted = before != prefix or not before  # a tokenizer may put a space before a text
        if parted and content[:-1] == alone and not self.tokenizer.decode(content[-1:]).strip():
            return first - 1
        raise CannotExpress("tokens merge across the gap" if parted else "tokens before the gap depend on the word")

    def _check_target(self, ids: tuple[int, ...], target: str) -> None:
        """Raise CannotExpress unless the target's tokens read as the target, spaces aside."""
        read = _squeeze(self.tokenizer.decode(list(ids), skip_special_tokens=False))
        read = read.removeprefix(getattr(self.tokenizer.model, "continuing_subword_prefix", None) or "")
        normalizer = self.tokenizer.normalizer
        expected = {_squeeze(target)}
        if normalizer is not None:
            expected.add(_squeeze(normalizer.normalize_str(target)))
        if read not in expected:
            raise CannotExpress("tokens do not read as the word")


def positions_needed(word: Encoded, objective: str) -> int:
    """Return the number of tokens of the longest step, in which a causal model reads all but the word's last token."""
    return max(len(step.input_ids) for step in steps(word, objective))


def too_long(model: Model, words: Sequence[Encoded]) -> bool:
    """Return whether any of the words needs more positions than the model has (see `positions_needed`)."""
    return 0 < model.positions < max(positions_needed(word, model.adapter.objective) for word in words)


def cue_tokens(
    tokenizer: GapTokenizer, prefix: str, suffix: str, target: str, cue: str, glued: bool = False
) -> tuple[int, int]:
    """Find a cue among the tokens of a prompt.

    The cue is searched in the text, as whole words: first before the blank, then, for a masked model, after it. A token
    belongs to it if it covers any of its letters.

    Args:
        tokenizer: The model's tokenizer.
        prefix: See `GapTokenizer.encode`, as for the next three.
        suffix: The text after the blank.
        target: The word that fills the blank.
        cue: The words to find.
        glued: Whether the target follows the prefix without a space.

    Returns:
        The cue's first token and one past its last, in the ids that `encode` returns.

    Raises:
        UserError: The cue is empty, is not in the text, or has no token.
    """
    if not cue.strip():
        raise UserError("the cue is empty: name the words to corrupt")
    at = find_words(prefix, cue)
    if at is None and tokenizer.objective == "masked":
        at = find_words(suffix, cue)
        at = None if at is None else at + len(fill_blank(prefix, target, glued))
    if at is None:
        raise UserError(f"the cue {cue!r} is not in the prompt {prefix!r}: give words that stand in it")
    span = token_span(tokenizer, prefix, suffix, target, at, at + len(cue), glued)
    if span is None:
        raise UserError(f"the cue {cue!r} has no token of its own in the prompt {prefix!r}")
    return span


def token_span(
    tokenizer: GapTokenizer, prefix: str, suffix: str, target: str, start: int, end: int, glued: bool = False
) -> tuple[int, int] | None:
    """Find the tokens that cover letters of a stretch of the filled text.

    Args:
        tokenizer: The model's tokenizer.
        prefix: See `GapTokenizer.encode`, as for the next two.
        suffix: The text after the blank.
        target: The word that fills the blank.
        start: First character of the stretch in the filled text: prefix, target and, for a masked model, suffix.
        end: One past its last.
        glued: Whether the target follows the prefix without a space.

    Returns:
        The first token and one past the last; None if no token covers a letter of the stretch.
    """
    text = fill_blank(prefix, target, glued) + (suffix if tokenizer.objective == "masked" else "")
    read = tokenizer.read(text)
    inside = [
        number
        for number, ((a, b), special) in enumerate(zip(read.offsets, read.special, strict=True))
        if not special and _covers(text, a, b, start, end)
    ]
    return (inside[0], inside[-1] + 1) if inside else None


def _span(offsets: list[tuple[int, int]], special: list[int], start: int, end: int, text: str) -> tuple[int, int]:
    """Return the first token of text[start:end] and one past its last; CannotExpress if a token crosses a border."""
    inside = [
        i
        for i, ((a, b), s) in enumerate(zip(offsets, special, strict=True))
        if not s and b > start and a < end and b > a
    ]
    if not inside:
        raise CannotExpress("unknown word")
    first, last = inside[0], inside[-1] + 1
    if len(inside) != last - first:
        raise CannotExpress("tokens do not read as the word")
    # A token may carry the space before its word, and no more.
    if text[offsets[first][0] : start] not in ("", " "):
        raise CannotExpress("tokens merge across the gap")
    if offsets[last - 1][1] > end:
        raise CannotExpress("tokens merge across the gap")
    return first, last


def _covered(offsets: list[tuple[int, int]], text: str) -> bool:
    """Return whether every character except spaces belongs to a token."""
    reached = 0
    for a, b in sorted(offsets):
        if a > reached and text[reached:a].strip():
            return False
        reached = max(reached, b)
    return not text[reached:].strip()


def _squeeze(text: str) -> str:
    return "".join(text.replace("▁", " ").split())


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON file's content, {} if there is no such file."""
    if not os.path.lexists(path):
        return {}
    try:
        content = parse_json(read_user_text(path, AGAIN))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({str(error)[:200]}): {AGAIN}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object: {AGAIN}")
    return content


def _mask_id(tokenizer: Tokenizer, settings: dict[str, Any]) -> int | None:
    named = settings.get("mask_token")
    named = named.get("content") if isinstance(named, dict) else named
    ids = (tokenizer.token_to_id(token) for token in (named, *MASK_TOKENS) if token and isinstance(token, str))
    return next((i for i in ids if i is not None), None)


def _covers(text: str, a: int, b: int, start: int, end: int) -> bool:
    """Return whether a token's letters, spaces aside, overlap a stretch of the text."""
    while a < b and text[a].isspace():
        a += 1
    return a < end and b > start and a < b
