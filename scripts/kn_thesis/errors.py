"""The exception for mistakes that a user can correct, and the check for a full disk."""

from __future__ import annotations

import errno


class UserError(Exception):
    """A mistake that the user can correct; the message is one line: where, what is wrong, and what to do."""


def disk_full(error: BaseException) -> bool:
    """Tell whether a write has failed because the disk or the user's quota is full.

    Libraries that write files themselves (safetensors, tokenizers) raise exceptions of their own, so the system's
    words in the message count as well as the error number.
    """
    full = (errno.ENOSPC, errno.EDQUOT)
    words = ("No space left on device", "Disk quota exceeded", *(f"os error {number})" for number in full))
    return (isinstance(error, OSError) and error.errno in full) or any(part in str(error) for part in words)
