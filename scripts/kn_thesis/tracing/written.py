"""Tokens as people read them: a vocabulary's own signs for spaces and bytes taken out."""

from __future__ import annotations

SPACE = "␣"  # for a token that is nothing else


def readable(token: str) -> str:
    """A token without the signs that stand for a space before it ("Ġthe", "▁the"), its bytes put together again.

    Byte-level vocabularies (GPT-2) write each byte as one printable letter, "Ã©" for "é"; part of a letter, and what is
    no such text, stays as it is written. "##ing" and "[CLS]" stay as well.
    """
    text = _from_bytes(str(token)).replace("▁", " ")
    return text.replace("\n", "⏎").replace("\t", "⇥").strip() or SPACE


def _from_bytes(token: str) -> str:
    """The text of a byte-level token; the token itself when it is none."""
    try:
        return bytes(_BYTES[letter] for letter in token).decode()
    except (KeyError, UnicodeDecodeError):
        return token.replace("Ġ", " ")


def _byte_letters() -> dict[str, int]:
    """Byte by letter: printable bytes of Latin-1 are themselves, the others follow from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_letters()
