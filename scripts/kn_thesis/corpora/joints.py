"""Whether a space parts a word from what stands before it: by the script, and by the marks that open or join words."""

from __future__ import annotations

import re
import unicodedata

# Scripts that put no space between words: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese; with their marks.
UNSPACED = (
    r"\u0e00-\u109f\u1780-\u17ff\u2e80-\u2fff\u3001-\u312f\u31a0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
    r"\uff00-\uffef\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
# Words of French and Italian that lose their vowel to the next word: l'eau, qu'un, dell'arte, un'ora.
ELIDED = r"(?:[cdjlmnst]|\w*qu|\w*ll|\w*un|quest|sant|dov|anch|tutt|mezz)['’]"
_ELISION = re.compile(rf"(?<!\w){ELIDED}$", re.IGNORECASE)
# The kings' land; the 'best' land.
_CLOSED = re.compile(r"\w[sxz]['’]$|(?<!\w)['‘]\w[^'’]*['’]$", re.IGNORECASE)
QUOTES = "\"'"


def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that puts no space between words."""
    return bool(_UNSPACED.match(character))


def is_spaced_letter(character: str) -> bool:
    """Whether a character is a letter, an accent or a digit of a script that puts spaces between words."""
    return bool(character) and unicodedata.category(character)[0] in "LMN" and not is_unspaced(character)


def inside_word(text: str, at: int) -> bool:
    """Whether `at` lies between two letters of one word, in a script that puts spaces between words."""
    return 0 < at < len(text) and is_spaced_letter(text[at - 1]) and is_spaced_letter(text[at])


def space_follows(text: str) -> bool | None:
    """Whether a space parts the next word from a text that ends without a plain space; None where that is unclear.

    None follows a line break or tab; a script without spaces; an opening bracket or quotation mark; an elision (l');
    a sign of currency, # or @ before its number or name; and a hyphen, dash or slash right behind a word. One follows
    all else. Unclear are other apostrophes (goin'), but for the plural's (kings'), and digits and ASCII marks behind a
    script without spaces.
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
