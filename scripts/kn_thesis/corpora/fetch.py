"""Download a file of a public corpus, or copy it from a mirror, and check its pinned size and SHA-256.

Bytes are written to a part file beside the target, which is kept between attempts and between runs. A download whose
connection was cut resumes where it broke off (HTTP Range) if the server supports it and starts again otherwise. A file
takes the target's name only with the size and hash that resources/corpora.yaml pins.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests

from kn_thesis.errors import UserError
from kn_thesis.inputs import read_user_yaml, without_login

CHUNK = 1 << 13  # bytes; the maximum that a cut connection loses
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REMEDY = (
    "set corpora.mirror in the configuration or the environment's KN_MIRROR to a folder or http(s) root that has it"
)


@dataclass(frozen=True)
class PinnedFile:
    """A file of a corpus as resources/corpora.yaml pins it.

    Attributes:
        corpus: Name of the corpus.
        path: Path below the corpus's public root.
        root: The public root's address.
        bytes: Size in bytes.
        sha256: SHA-256 in hexadecimal digits.
    """

    corpus: str
    path: str
    root: str
    bytes: int
    sha256: str


def pinned_file(manifest: str | Path, corpus: str, path: str) -> PinnedFile:
    """Look up a file among the pinned files.

    Args:
        manifest: Path of resources/corpora.yaml.
        corpus: Name of the corpus.
        path: Path below the corpus's public root.

    Raises:
        UserError: The manifest cannot be read or does not list the file.
    """
    content = read_user_yaml(manifest, "restore it from the repository")
    try:
        section = content[corpus]
        entry = section["files"][path]
        return PinnedFile(corpus, path, section["root"], int(entry["bytes"]), str(entry["sha256"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{manifest}: {corpus} has no file {path} with bytes and sha256: only pinned files are used; "
            "check the task's name, or add the file with its size and sha256"
        ) from None


def source_of(file: PinnedFile, mirror: str | None) -> str:
    """Return the address or local path that a file is taken from.

    Args:
        file: The file.
        mirror: Folder or http(s) root with the layout <corpus>/<path>; None or "" for the public root.
    """
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
    """Bring a file to its target.

    A cut connection, a timeout, status 429 or 5xx, or a wrong checksum is followed by another attempt.

    Args:
        file: The pinned file.
        target: Where to put it; its folder is created if necessary.
        mirror: Folder or http(s) root with the layout <corpus>/<path>; None for the public root.
        retries: Maximum number of attempts after the first.
        timeout: Seconds without an answer before an attempt is given up.
        first_delay: Seconds before the second attempt. The delay doubles each time, up to 30 s or the server's
            Retry-After.
        sleep: Function that waits, for tests.

    Raises:
        UserError: The file cannot be obtained or written. The message names the file, its source and the remedy.
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
            part.unlink(missing_ok=True)  # it only takes up space now
            raise _failure(file, source, f"the disk of {target.parent} is full", "free some space there") from None
        raise _failure(file, source, f"cannot write {part}: {error.strerror}", "fix this and run again") from None
    print(f"{file.corpus}/{file.path}: complete, {file.bytes:,} bytes, sha256 as pinned", flush=True)


class _TryAgain(Exception):
    """An attempt failed in a way that the next one may not.

    Attributes:
        wait: Seconds that the server asks to wait.
    """

    def __init__(self, what: str, wait: float = 0) -> None:
        super().__init__(what)
        self.wait = wait


def _failure(file: PinnedFile, source: str, what: str, remedy: str = REMEDY) -> UserError:
    return UserError(without_login(f"{file.corpus}/{file.path}: {what} (tried {source}): {remedy}"))


def _copy(file: PinnedFile, source: Path, part: Path, mirror: Path) -> None:
    """Copy a file from a mirror that is a folder; a mistake there stays, so there is one attempt only."""
    if not mirror.expanduser().is_dir():
        raise _failure(file, str(source), f"the mirror {mirror} is not a folder", REMEDY)
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
        for attempt in range(retries + 1):
            try:
                return _try(file, url, part, session, timeout)
            except _TryAgain as problem:
                print(f"{file.corpus}/{file.path}: attempt {attempt + 1} of {retries + 1}: {problem}", flush=True)
                if attempt == retries:
                    attempts = "1 attempt" if retries == 0 else f"{retries + 1} attempts"
                    raise _failure(file, url, f"{problem}, after {attempts}") from None
                sleep(max(min(delay * 2**attempt, 30), min(problem.wait, 120)))


def _try(file: PinnedFile, url: str, part: Path, session: requests.Session, timeout: float) -> None:
    """Make one request; return when the part file is complete and correct."""
    have = part.stat().st_size if part.exists() else 0
    if have >= file.bytes:
        if not _wrong(file, part):
            return
        part.unlink()
        have = 0
    # No compression, so that sizes and ranges are those of the file itself.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
            resumed = _resumes(file, url, response, have, part)
            print(
                f"{file.corpus}/{file.path}: {f'from byte {have:,}' if resumed else 'from the start'} of "
                f"{file.bytes:,}, {without_login(url)}",
                flush=True,
            )
            _write(part, "ab" if resumed else "wb", response.iter_content(CHUNK), file.bytes - have * resumed)
    except requests.Timeout:
        raise _TryAgain(f"no answer within {timeout:g} s") from None
    except requests.exceptions.ConnectionError as error:
        # This class covers both an unreachable server and one that goes silent during the transfer.
        if "Read timed out" in str(error):
            raise _TryAgain(f"no answer within {timeout:g} s") from None
        raise _TryAgain("no connection") from None
    except requests.exceptions.ChunkedEncodingError:
        raise _TryAgain("the connection was cut") from None
    except requests.RequestException as error:
        raise _failure(file, url, f"cannot be requested: {' '.join(str(error).split())}") from None
    size = part.stat().st_size
    if size < file.bytes:
        raise _TryAgain(f"the connection was cut after {size:,} of {file.bytes:,} bytes")
    wrong = _wrong(file, part)
    if wrong:
        part.unlink()
        raise _TryAgain(wrong)


def _resumes(file: PinnedFile, url: str, response: requests.Response, have: int, part: Path) -> bool:
    """Tell whether the response continues after the first `have` bytes; otherwise it is the whole file."""
    status = response.status_code
    if status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return True
    if status in (206, 416):
        part.unlink(missing_ok=True)
        raise _TryAgain("the server cannot resume the download")
    if status == 429 or status >= 500:
        wait = response.headers.get("Retry-After", "")
        raise _TryAgain(f"the server answers {status}", float(wait) if wait.isdigit() else 0)
    if status != 200:
        raise _failure(file, url, f"the server answers {status} {response.reason}")
    return False


def _write(part: Path, mode: str, chunks: Iterable[bytes], size: int) -> None:
    """Write chunks, and stop once there are more bytes than the file has, because it is then another file."""
    with part.open(mode) as out:
        for chunk in chunks:
            out.write(chunk)
            size -= len(chunk)
            if size < 0:
                break


def _wrong(file: PinnedFile, part: Path) -> str:
    """Say what is wrong with a complete file; "" if nothing is."""
    size = part.stat().st_size
    if size != file.bytes:
        return f"its size is {'more than' if size > file.bytes else f'{size:,} instead of'} {file.bytes:,} bytes"
    with part.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return "" if sha256 == file.sha256 else f"its sha256 is {sha256[:12]}… instead of {file.sha256[:12]}…"
