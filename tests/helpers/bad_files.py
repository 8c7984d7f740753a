"""Ways in which any text file can be wrong, whatever should be in it: its bytes, or that it is no file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

Place = Callable[[Path], None]  # puts something where the file should be

NO_FILES: dict[str, Place] = {
    "absent": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "link to itself": lambda path: path.symlink_to(path),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "empty": lambda path: path.write_bytes(b""),
    "blank": lambda path: path.write_bytes(b" \n\n"),
}
if os.geteuid():  # root reads what nobody may
    NO_FILES["not readable"] = lambda path: (path.write_bytes(b"x"), path.chmod(0))  # type: ignore[assignment,return-value]


def put_away(path: Path) -> None:
    """Take away what was put there, whatever it is."""
    if not os.path.lexists(path):
        return
    if stat.S_ISDIR(os.lstat(path).st_mode):
        path.rmdir()
    else:
        path.unlink()


@st.composite
def broken_bytes(draw: st.DrawFn, right: bytes) -> tuple[str, bytes]:
    """The way and the bytes: what no text in UTF-8 has, anywhere in it."""
    at = draw(st.integers(0, len(right)))
    while 0 < at < len(right) and right[at] & 0xC0 == 0x80:  # not inside a character
        at -= 1
    way, inside = draw(
        st.sampled_from(
            [
                ("invalid byte", b"\xff"),
                ("half a character", b"\xc3"),
                ("Latin-1", "ä".encode("latin-1")),
                ("encoded surrogate", b"\xed\xa0\x80"),
                ("overlong", b"\xc0\xaf"),
            ]
        )
    )
    whole = draw(st.booleans())
    if whole and right.isascii():
        return "UTF-16", right.decode().encode(draw(st.sampled_from(["utf-16", "utf-32"])))
    return f"{way} at {at}", right[:at] + inside + right[at:]
