"""One file of a public corpus: from its public root or a mirror, checked, whole or absent.

Bytes go to a part file beside the target. It is kept between tries and between runs, so that a cut connection
resumes where it broke off (HTTP Range) when the server can, and starts again when it cannot. Only a file with the
pinned size and sha256 takes the target's name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

import requests

from kn_thesis.addresses import without_login
from kn_thesis.corpora.manifest import PinnedFile
from kn_thesis.errors import UserError

CHUNK = 1 << 13  # bytes; what a cut connection loses at most
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REMEDY = (
    "set corpora.mirror in the configuration or the environment's KN_MIRROR to a folder or http(s) root that has it"
)


class _TryAgain(Exception):
    """This try failed in a way that another may not; `wait` are the seconds that the server asks for."""

    def __init__(self, what: str, wait: float = 0) -> None:
        super().__init__(what)
        self.wait = wait


def source_of(file: PinnedFile, mirror: str | None) -> str:
    """The url or local path that a file is taken from: below the mirror when there is one, else its public root."""
    if not mirror:
        return file.root.rstrip("/") + "/" + quote(file.path)
    if mirror.startswith(("http://", "https://")):
        return f"{mirror.rstrip('/')}/{file.corpus}/{quote(file.path)}"
    return str(Path(mirror).expanduser() / file.corpus / file.path)


def fetch(
    file: PinnedFile,
    target: str | Path,
    *,
    mirror: str | None = None,
    retries: int = 5,
    timeout: float = 30,
    first_delay: float = 0.5,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring `file` to `target`.

    `mirror` is a folder or an http(s) root with the layout <corpus>/<path>. After a cut connection, a timeout, an
    answer 429 or 5xx, or a wrong sum, up to `retries` further tries follow; the wait before them starts at
    `first_delay` seconds and doubles, up to 30 s or what the server's Retry-After asks for. `timeout` is in seconds
    without an answer.
    Raises UserError, in one line with the file, the place tried and the remedy, when the file cannot be had.
    """
    source = source_of(file, mirror)
    target = Path(target)
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.startswith(("http://", "https://")):
            _download(file, source, part, retries, timeout, first_delay, sleep)
        else:
            _copy(file, Path(source), part, Path(mirror or ""))
        os.replace(part, target)
    except OSError as error:
        if error.errno in FULL:
            part.unlink(missing_ok=True)  # it only takes room now
            raise _failure(file, source, f"no room on the disk of {target.parent}", "free some space there") from None
        raise _failure(file, source, f"cannot write {part}: {error.strerror}", "mend that and run again") from None
    print(f"{file.corpus}/{file.path}: complete, {file.bytes:,} bytes, sha256 as pinned", flush=True)


def _failure(file: PinnedFile, source: str, what: str, remedy: str = REMEDY) -> UserError:
    return UserError(without_login(f"{file.corpus}/{file.path}: {what} (tried {source}): {remedy}"))


def _copy(file: PinnedFile, source: Path, part: Path, mirror: Path) -> None:
    """Copy a file of a mirror that is a folder; what is wrong there stays wrong, so there are no further tries."""
    if not mirror.expanduser().is_dir():
        raise _failure(file, str(source), f"the mirror {mirror} is no folder", REMEDY)
    try:
        stream = source.open("rb")
    except OSError as error:
        raise _failure(file, str(source), f"the mirror's file cannot be read: {error.strerror}") from None
    with stream:
        _write(part, "wb", iter(lambda: stream.read(CHUNK), b""), file.bytes)
    wrong = _wrong(file, part)
    if wrong:
        part.unlink()
        raise _failure(file, str(source), f"the mirror has another file: {wrong}")


def _download(
    file: PinnedFile,
    url: str,
    part: Path,
    retries: int,
    timeout: float,
    delay: float,
    sleep: Callable[[float], None],
) -> None:
    with requests.Session() as session:
        for trial in range(retries + 1):
            try:
                return _try(file, url, part, session, timeout)
            except _TryAgain as problem:
                print(f"{file.corpus}/{file.path}: try {trial + 1} of {retries + 1}: {problem}", flush=True)
                if trial == retries:
                    tries = "1 try" if retries == 0 else f"{retries + 1} tries"
                    raise _failure(file, url, f"{problem}, after {tries}") from None
                sleep(max(min(delay * 2**trial, 30), min(problem.wait, 120)))


def _try(file: PinnedFile, url: str, part: Path, session: requests.Session, timeout: float) -> None:
    """One request; returns when the part file is complete and right."""
    have = part.stat().st_size if part.exists() else 0
    if have >= file.bytes:
        if not _wrong(file, part):
            return
        part.unlink()
        have = 0
    # Without compression, so that sizes and ranges are those of the file itself.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with session.get(url, headers=headers, timeout=timeout, stream=True) as answer:
            resumed = _resumes(file, url, answer, have, part)
            print(
                f"{file.corpus}/{file.path}: {f'from byte {have:,}' if resumed else 'from the start'} of "
                f"{file.bytes:,}, {without_login(url)}",
                flush=True,
            )
            _write(part, "ab" if resumed else "wb", answer.iter_content(CHUNK), file.bytes - have * resumed)
    except requests.Timeout:
        raise _TryAgain(f"no answer within {timeout:g} s") from None
    except requests.exceptions.ConnectionError as error:
        # The same class covers a server that is out of reach and one that goes silent half-way.
        if "Read timed out" in str(error):
            raise _TryAgain(f"no answer within {timeout:g} s") from None
        raise _TryAgain("no connection") from None
    except requests.exceptions.ChunkedEncodingError:
        raise _TryAgain("the connection was cut") from None
    except requests.RequestException as error:
        raise _failure(file, url, f"cannot be asked for: {' '.join(str(error).split())}") from None
    size = part.stat().st_size
    if size < file.bytes:
        raise _TryAgain(f"the connection was cut after {size:,} of {file.bytes:,} bytes")
    wrong = _wrong(file, part)
    if wrong:
        part.unlink()
        raise _TryAgain(wrong)


def _resumes(file: PinnedFile, url: str, answer: requests.Response, have: int, part: Path) -> bool:
    """Whether the answer goes on after the first `have` bytes; else it is the whole file."""
    status = answer.status_code
    if status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return True
    if status in (206, 416):
        part.unlink(missing_ok=True)
        raise _TryAgain("the server cannot resume the download")
    if status == 429 or status >= 500:
        wait = answer.headers.get("Retry-After", "")
        raise _TryAgain(f"the server answers {status}", float(wait) if wait.isdigit() else 0)
    if status != 200:
        raise _failure(file, url, f"the server answers {status} {answer.reason}")
    return False


def _write(part: Path, mode: str, chunks: Iterable[bytes], most: int) -> None:
    """Write chunks, and stop once there are more bytes than the file has: it is another file, however long."""
    with part.open(mode) as out:
        for chunk in chunks:
            out.write(chunk)
            most -= len(chunk)
            if most < 0:
                break


def _wrong(file: PinnedFile, part: Path) -> str:
    """What is wrong with a complete file, or nothing."""
    size = part.stat().st_size
    if size != file.bytes:
        return f"its size is {'more than' if size > file.bytes else f'{size:,} instead of'} {file.bytes:,} bytes"
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return "" if found == file.sha256 else f"its sha256 is {found[:12]}… instead of {file.sha256[:12]}…"
