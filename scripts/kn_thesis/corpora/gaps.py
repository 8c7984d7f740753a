"""A text with one gap, and the word that fills it, as a model's own tokens.

The whole filled text is encoded and cut at the gap by the tokens' offsets, so that the word gets the tokens it has in
running text ("Ġthis", "▁this"), with no token for the beginning of a sequence in it, whatever kind the tokenizer is.
Needs `tokenizers` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kn_thesis.corpora.joints import inside_word, is_unspaced, space_follows
from kn_thesis.errors import UserError
from kn_thesis.given import given_text, strict_json
from kn_thesis.models.config import positions

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GAP = "___"
BLANK = re.compile("_{3,}")  # a cloze test's blank, however long
AGAIN = "take it from its source again"
MASKED = ("bert", "roberta", "distilbert", "electra", "albert", "deberta", "deberta-v2", "xlm-roberta", "modernbert")
MASK_TOKENS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens.

    Masked: `input_ids` has as many masks as the target has tokens, from position `gap` on.
    Causal: `input_ids` ends before the gap, and position `gap`, its last, predicts the target's first token.
    """

    input_ids: tuple[int, ...]
    gap: int
    target_ids: tuple[int, ...]


def encoded_from(input_ids: Sequence[int], gap: int, target_ids: Sequence[int]) -> Encoded:
    """A prompt in tokens from a row of a table of prompts, whose numbers are numpy's."""
    return Encoded(tuple(map(int, input_ids)), int(gap), tuple(map(int, target_ids)))


class Tokens(NamedTuple):
    """A text in tokens: of each its id, where it stands in the text, and whether the tokenizer added it."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    special: list[int]


class Step(NamedTuple):
    """One token of a target: the ids the model sees, the position that predicts the token, and the token."""

    input_ids: tuple[int, ...]
    gap: int
    token: int


def steps(encoded: Encoded, objective: str) -> Iterator[Step]:
    """The target's tokens one by one, those before each of them filled in (teacher forcing)."""
    ids, gap, target = tuple(encoded.input_ids), encoded.gap, tuple(encoded.target_ids)
    for j, token in enumerate(target):
        seen = ids + target[:j] if objective == "causal" else ids[:gap] + target[:j] + ids[gap + j :]
        yield Step(seen, gap + j, token)


class CannotExpress(Exception):
    """The tokenizer cannot put this prompt and this word in tokens; `reason` is short and always spelt the same."""

    @property
    def reason(self) -> str:
        """Why not, in a few words."""
        return str(self.args[0])


@dataclass(frozen=True)
class GapTokenizer:
    """Cuts texts at their gap. `mask_id` is None for causal models; `max_length` (tokens) where a limit is known."""

    tokenizer: Tokenizer
    objective: str
    mask_id: int | None = None
    max_length: int | None = None

    @classmethod
    def from_folder(cls, folder: str | Path) -> GapTokenizer:
        """From tokenizer.json, tokenizer_config.json and the family in model.json or config.json.

        Raises UserError when one is missing or cannot be read, or when a masked model has no mask token.
        """
        folder = Path(folder)
        config, model = _json(folder / "config.json"), _json(folder / "model.json")
        settings = _json(folder / "tokenizer_config.json")
        family = model.get("family") or config.get("model_type")
        if not family:
            raise UserError(f"{folder}: neither model.json nor config.json names the model's family: add one of them")
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"{path}: there is no such file: a fast tokenizer's tokenizer.json is needed")
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
        """Encode the text `prefix` + gap + `suffix` with `target` for the gap.

        One space follows `prefix` unless it is empty or `glued`: then the target begins at once. `suffix` begins with
        its own space, if any. A causal model does not see the suffix; in a script without spaces it must leave the
        tokens before it as they are. Spaces around the target do not count. A target has all the tokens that the text
        has for it and the space before it, also where that space is a token of its own. Raises CannotExpress.
        """
        target = target.strip()
        if not target:
            raise CannotExpress("no word for the gap")
        check_parted(prefix, target, glued)
        before = filled(prefix, "", glued)
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
        if not _covered(offsets, text):  # a tokenizer with no token for the unknown drops what it does not know
            raise CannotExpress("unknown word")
        target_ids = tuple(ids[first:last])
        self._check_target(target_ids, target)
        read = len(ids) if self.objective == "masked" else last  # nothing that a tokenizer appends is read
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
        """Encode a text whose gap is a blank or the mask token; for causal models also a text that ends at the gap.

        Raises CannotExpress; for a causal model also when words follow the gap.
        """
        prefix, suffix, glued = self.around_gap(text)
        return self.encode(prefix, suffix, target, glued)

    def around_gap(self, text: str) -> tuple[str, str, bool]:
        """Prefix and suffix of such a text, and whether the target is glued to the prefix: see `encode`.

        A blank is three underscores or more. What stands before it is kept as it is: one space there is the target's
        own, and without a space the target begins at once. At the end of a text without a blank, the text's last
        characters tell whether a space follows (see `joints`). Raises CannotExpress.
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
        prefix, glued = before_gap(prefix) if suffixes else _before_end(prefix)
        return prefix, suffixes[0] if suffixes else "", glued

    def read(self, text: str) -> Tokens:
        """The tokens of a text, with the special ones that the tokenizer puts around it.

        A text that has these at its beginning or end already is not given them twice.
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
        """The tokens of a text that is to go on: without the special ones that the tokenizer appends."""
        ids, _, special = self.read(text)
        while special and special[-1]:
            ids, special = ids[:-1], special[:-1]
        return ids

    def beginning(self, text: str) -> str:
        """The special tokens that a text begins with, if they are those that the tokenizer puts before any text."""
        whole = self.tokenizer.encode(text)
        first = next((place for place, mark in enumerate(whole.special_tokens_mask) if not mark), 0)
        if not first or whole.ids[first : 2 * first] != whole.ids[:first]:
            return ""
        return text[: whole.offsets[2 * first - 1][1]]

    @property
    def unknown_id(self) -> int | None:
        """Id of the token for what the vocabulary lacks; None where there is none."""
        token = getattr(self.tokenizer.model, "unk_token", None)
        return self.tokenizer.token_to_id(token) if token else None

    def _mask_token(self) -> str | None:
        return None if self.mask_id is None else self.tokenizer.id_to_token(self.mask_id)

    def _check_marks(self, text: str) -> None:
        """No mask token but the model's own stands for a gap: another one would be read as text."""
        if any(mark in text for mark in MASK_TOKENS if mark != self._mask_token()):
            masked = self.objective == "masked"
            raise CannotExpress("mask token of another model" if masked else "a causal model has no mask token")

    def _first(self, ids: list[int], special: list[int], first: int, before: str) -> int:
        """The target's first token, which the first one that covers a letter of it, or a lone space before that, is.

        The tokens before it must be those of the prefix alone.
        """
        content = [i for i, s in zip(ids[:first], special, strict=False) if not s]
        prefix = before.removesuffix(" ")
        alone = self.tokenizer.encode(prefix, add_special_tokens=False).ids if prefix else []
        if content == alone:
            return first
        parted = before != prefix or not before  # a tokenizer may begin a text with a space
        if parted and content[:-1] == alone and not self.tokenizer.decode(content[-1:]).strip():
            return first - 1
        raise CannotExpress("tokens merge across the gap" if parted else "tokens before the gap depend on the word")

    def _check_target(self, ids: tuple[int, ...], target: str) -> None:
        """The target's tokens must read as the target, spaces aside."""
        read = _squeeze(self.tokenizer.decode(list(ids), skip_special_tokens=False))
        read = read.removeprefix(getattr(self.tokenizer.model, "continuing_subword_prefix", None) or "")
        normalizer = self.tokenizer.normalizer
        expected = {_squeeze(target)}
        if normalizer is not None:
            expected.add(_squeeze(normalizer.normalize_str(target)))
        if read not in expected:
            raise CannotExpress("tokens do not read as the word")


def filled(prefix: str, word: str, glued: bool) -> str:
    """A prefix with the word, or the mark of a gap, that follows it: see `GapTokenizer.encode`."""
    return f"{prefix}{word}" if glued or not prefix else f"{prefix} {word}"


def check_parted(prefix: str, word: str, glued: bool) -> None:
    """Raise CannotExpress where a word would go on with the letters of the word before it."""
    if inside_word(filled(prefix, word, glued), len(prefix)):
        raise CannotExpress("gap is inside a word")


def is_glued(prefix: str, text: str) -> bool:
    """Whether the gap, written "___", follows a prefix at once in a text that begins with it."""
    return bool(prefix) and text.startswith(GAP, len(prefix))


def before_gap(text: str) -> tuple[str, bool]:
    """The prefix that a text before a gap is, and whether the target is glued to it: see `GapTokenizer.encode`."""
    return (text[:-1], False) if text.endswith(" ") and text != " " else (text, bool(text))


def _before_end(text: str) -> tuple[str, bool]:
    """The same of a text that ends at its gap, where nothing says so."""
    if text.endswith(" "):
        return before_gap(text)
    follows = space_follows(text)
    if follows is None:
        raise CannotExpress(f"unclear whether a space follows the text: end it in {GAP}")
    return text, not follows


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json; UserError when there is none in it, or it has no token for unknown words."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except BaseException as error:  # the library raises nothing narrower, and Rust's panics are no `Exception`
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: no tokenizer can be read from it ({reason}): {AGAIN}") from None
    unknown = getattr(tokenizer.model, "unk_token", None)
    if unknown is not None and tokenizer.token_to_id(unknown) is None:
        raise UserError(f"{path}: its vocabulary lacks its own token for unknown words, {unknown[:60]!r}: {AGAIN}")
    return tokenizer


def _span(offsets: list[tuple[int, int]], special: list[int], start: int, end: int, text: str) -> tuple[int, int]:
    """First and one past the last token of text[start:end]; raises CannotExpress where a token crosses its borders."""
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
    """Whether every character but spaces belongs to a token."""
    reached = 0
    for a, b in sorted(offsets):
        if a > reached and text[reached:a].strip():
            return False
        reached = max(reached, b)
    return not text[reached:].strip()


def _squeeze(text: str) -> str:
    return "".join(text.replace("▁", " ").split())


def _json(path: Path) -> dict[str, Any]:
    """A JSON file's content; nothing when there is no such file."""
    if not os.path.lexists(path):
        return {}
    try:
        content = strict_json(given_text(path, AGAIN))
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
