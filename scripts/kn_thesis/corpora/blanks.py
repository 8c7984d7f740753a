"""Write, find and fill the blank of a prompt, and decide where words begin and end in different scripts.

A prompt is the text before its blank (the prefix), the word that fills it, and the text after it (the suffix). A word
is glued to its prefix when no space parts them.
"""

from __future__ import annotations

import re
import unicodedata

# Scripts without spaces between words, with their marks: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese.
UNSPACED = (
    r"\u0e00-\u109f\u1780-\u17ff\u2e80-\u2fff\u3001-\u312f\u31a0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
    r"\uff00-\uffef\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
# French and Italian words that lose their vowel before the next word: l'eau, qu'un, dell'arte, un'ora.
ELIDED = r"(?:[cdjlmnst]|\w*qu|\w*ll|\w*un|quest|sant|dov|anch|tutt|mezz)['’]"
_ELISION = re.compile(rf"(?<!\w){ELIDED}$", re.IGNORECASE)
# Apostrophes that end a word or a quotation: the kings' land; the 'best' land.
_CLOSED = re.compile(r"\w[sxz]['’]$|(?<!\w)['‘]\w[^'’]*['’]$", re.IGNORECASE)
QUOTES = "\"'"
GAP = "___"
BLANK = re.compile("_{3,}")  # the blank of a cloze test, of any length


class CannotExpress(Exception):
    """A tokenizer cannot express this prompt with this word.

    `reason` is short and always spelt the same way, because tables count prompts by it.
    """

    @property
    def reason(self) -> str:
        """The reason in a few words."""
        return str(self.args[0])


def fill_blank(prefix: str, word: str, glued: bool) -> str:
    """Join a prefix and the word that fills the blank, or the blank's mark.

    Args:
        prefix: Text before the blank, without the space that separates them.
        word: The word, or `GAP`.
        glued: Whether no space separates them, see `kn_thesis.models.cloze.GapTokenizer.encode`.

    Returns:
        The text up to the end of the word.
    """
    return f"{prefix}{word}" if glued or not prefix else f"{prefix} {word}"


def is_glued(prefix: str, text: str) -> bool:
    """Tell whether a text that begins with the prefix has its blank ("___") directly after it."""
    return bool(prefix) and text.startswith(GAP, len(prefix))


def before_gap(text: str) -> tuple[str, bool]:
    """Split off the space before a blank.

    Args:
        text: Everything before the blank.

    Returns:
        The prefix, and whether the word is glued to it, see `kn_thesis.models.cloze.GapTokenizer.encode`.
    """
    return (text[:-1], False) if text.endswith(" ") and text != " " else (text, bool(text))


def before_end(text: str) -> tuple[str, bool]:
    """Do the same for a text that ends at its blank without a mark.

    Args:
        text: The text to continue.

    Returns:
        The prefix, and whether the next word is glued to it.

    Raises:
        CannotExpress: It is unclear whether a space follows the text.
    """
    if text.endswith(" "):
        return before_gap(text)
    follows = space_follows(text)
    if follows is None:
        raise CannotExpress(f"unclear whether a space follows the text: end it in {GAP}")
    return text, not follows


def check_split(prefix: str, word: str, glued: bool) -> None:
    """Check that a word does not continue the word before it.

    Raises:
        CannotExpress: The last letter of the prefix and the first letter of the word would form one word.
    """
    if inside_word(fill_blank(prefix, word, glued), len(prefix)):
        raise CannotExpress("gap is inside a word")


def find_words(text: str, cue: str) -> int | None:
    """Return the index of the first occurrence of `cue` between word boundaries; None if there is none."""
    place = text.find(cue)
    while place >= 0:
        if not (inside_word(text, place) or inside_word(text, place + len(cue))):
            return place
        place = text.find(cue, place + 1)
    return None


def inside_word(text: str, at: int) -> bool:
    """Tell whether index `at` lies between two letters of one word, in a script with spaces between words."""
    return 0 < at < len(text) and is_spaced_letter(text[at - 1]) and is_spaced_letter(text[at])


def is_unspaced(character: str) -> bool:
    """Tell whether a character belongs to a script without spaces between words."""
    return bool(_UNSPACED.match(character))


def is_spaced_letter(character: str) -> bool:
    """Tell whether a character is a letter, an accent or a digit of a script with spaces between words."""
    return bool(character) and unicodedata.category(character)[0] in "LMN" and not is_unspaced(character)


def space_follows(text: str) -> bool | None:
    """Decide whether a space separates the next word from a text that does not end with a space.

    Args:
        text: Text before the next word.

    Returns:
        False after a line break or tab, a script without spaces, an opening bracket or quotation mark, an elision (l'),
        a currency sign, # or @ before its number or name, and a hyphen, dash or slash directly after a word. None if
        unclear: after other apostrophes (goin') except that of a plural (kings'), and after digits and ASCII marks that
        follow a script without spaces. True after everything else.
    """
    if not text:
        return True
    last, before = text[-1], text[-2:-1]
    category = unicodedata.category(last)
    opens = not before or before.isspace() or is_unspaced(before) or unicodedata.category(before) in ("Ps", "Pi")
    if last.isspace() or is_unspaced(last) or category == "Ps":
        return False
    if category == "Sc":
        return text[:-1].rstrip()[-1:].isdigit()
    if last in "#@":
        return is_spaced_letter(before)
    if last in "'’" and is_spaced_letter(before):
        return True if _CLOSED.search(text) else False if _ELISION.search(text) else None
    if last in QUOTES or category in ("Pi", "Pf"):
        return not (opens or before in ":=-–—/")
    if category == "Pd" or last == "/":
        return not is_spaced_letter(before)
    behind = text.rstrip("0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return None if behind != text and behind and is_unspaced(behind[-1]) else True
