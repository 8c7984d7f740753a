"""Fetching files of the public corpora from a real server on loopback, well-behaved and not."""

from __future__ import annotations

import errno
import hashlib
import io
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kn_thesis.corpora import fetch as module
from kn_thesis.corpora.fetch import CHUNK, PinnedFile, fetch, pinned_file, source_of
from kn_thesis.errors import UserError
from tests.helpers.mirror_server import serving

REPOSITORY = Path(__file__).parents[2]
MANIFEST = REPOSITORY / "resources" / "corpora.yaml"
MIRROR = REPOSITORY.parent / "shared" / "corpora"
FILES = {"blimp": "data/anaphor_number_agreement.jsonl", "pararel": "data/trex_lms_vocab/P36.jsonl"}


@pytest.fixture(params=["made up", "blimp", "pararel"])
def corpus(request, tmp_path) -> tuple[Path, PinnedFile]:
    """A mirror's folder and one of its files: invented, or real ones if the mirror exists."""
    if request.param == "made up":
        body = b"".join(b'{"sentence_good": "Line %d is good.", "pairID": "%d"}\n' % (i, i) for i in range(9000))
        path = tmp_path / "mirror" / "blimp" / "data" / "made up.jsonl"
        path.parent.mkdir(parents=True)
        path.write_bytes(body)
        file = PinnedFile("blimp", "data/made up.jsonl", "http://nowhere/", len(body), hashlib.sha256(body).hexdigest())
        # Clients write the space as %20; this server looks names up as requested.
        (path.parent / "made%20up.jsonl").write_bytes(body)
        return tmp_path / "mirror", file
    if not MIRROR.is_dir():
        pytest.skip("no mirror of the public corpora beside the repository (../shared/corpora)")
    return MIRROR, pinned_file(MANIFEST, request.param, FILES[request.param])


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "results" / "file.jsonl"


def get(file: PinnedFile, target: Path, mirror: str, **settings) -> None:
    fetch(file, target, mirror=mirror, **({"retries": 3, "timeout": 0.4, "first_delay": 0.01} | settings))


def start_of(ranges: str | None) -> int:
    assert ranges is not None
    return int(ranges.removeprefix("bytes=").rstrip("-"))


def check_whole(file: PinnedFile, target: Path) -> None:
    assert hashlib.sha256(target.read_bytes()).hexdigest() == file.sha256
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def check_refused(file: PinnedFile, target: Path, mirror: str, *words: str, **settings) -> str:
    with pytest.raises(UserError) as caught:
        get(file, target, mirror, **settings)
    message = str(caught.value)
    assert "\n" not in message and file.path in message
    for word in (*words, "KN_MIRROR"):
        assert word in message
    assert not target.exists()
    return message


def test_good(corpus, target, capsys):
    root, file = corpus
    with serving(root) as server:
        get(file, target, server.url)
        assert server.asked == [None]
    check_whole(file, target)
    log = capsys.readouterr().out
    assert file.path in log and server.url in log and f"{file.bytes:,}" in log


def test_cut_is_resumed(corpus, target):
    root, file = corpus
    with serving(root, ["cut", "cut"]) as server:
        get(file, target, server.url)
        first, second, third = server.asked
    assert first is None
    # Each request goes on where the last one broke off, not before.
    assert file.bytes // 2 - CHUNK <= start_of(second) <= file.bytes // 2
    assert start_of(second) < start_of(third) < file.bytes
    check_whole(file, target)


def test_cut_is_resumed_in_a_later_run(corpus, target):
    root, file = corpus
    with serving(root, ["cut", 503]) as server:
        check_refused(file, target, server.url, "503", retries=1)
        part = target.with_name(f".{target.name}.part")
        have = part.stat().st_size
        assert have >= file.bytes // 2 - CHUNK
        get(file, target, server.url)
        assert start_of(server.asked[-1]) == have
    check_whole(file, target)


def test_cut_is_restarted_without_ranges(corpus, target):
    root, file = corpus
    with serving(root, ["cut"], ranges=False) as server:
        get(file, target, server.url)
        assert len(server.asked) == 2
    check_whole(file, target)


def test_wrong_part_is_thrown_away(corpus, target):
    root, file = corpus
    target.parent.mkdir(parents=True)
    part = target.with_name(f".{target.name}.part")
    with serving(root) as server:
        part.write_bytes(b"?" * 100)  # resumed, found wrong, restarted
        get(file, target, server.url)
        assert server.asked == ["bytes=100-", None]
        check_whole(file, target)
        target.unlink()
        part.write_bytes(b"?" * (file.bytes + 5))  # longer than the file: no use at all
        get(file, target, server.url)
        assert server.asked[2:] == [None]
    check_whole(file, target)


@pytest.mark.parametrize("harm", ["corrupt", "long"])
def test_corrupted_once(corpus, target, harm):
    root, file = corpus
    with serving(root, [harm]) as server:
        get(file, target, server.url)
        assert server.asked == [None, None]
    check_whole(file, target)


def test_corrupted_for_good(corpus, target):
    root, file = corpus
    with serving(root, ["corrupt"] * 4) as server:
        check_refused(file, target, server.url, "sha256", server.url, "4 attempts")
    assert not list(target.parent.iterdir())


def test_too_long_for_good(corpus, target):
    root, file = corpus
    with serving(root, ["long"] * 2) as server:
        check_refused(file, target, server.url, "size", retries=1)


@pytest.mark.parametrize("way", ["slow", "stall"])
def test_silence(corpus, target, way):
    root, file = corpus
    with serving(root, [way]) as server:
        get(file, target, server.url)
        assert len(server.asked) == 2
    check_whole(file, target)


def test_silence_for_good(corpus, target):
    root, file = corpus
    with serving(root, ["slow"] * 2) as server:
        check_refused(file, target, server.url, "no answer within 0.4 s", "2 attempts", retries=1)


def test_not_found_is_not_asked_again(corpus, target):
    root, file = corpus
    with serving(root, [404]) as server:
        check_refused(file, target, server.url, "404", f"{server.url}/{file.corpus}")
        assert len(server.asked) == 1


def test_forbidden_is_not_asked_again(corpus, target):
    root, file = corpus
    with serving(root, [403]) as server:
        check_refused(file, target, server.url, "403")
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [500, 429])
def test_refused_then_good(corpus, target, status):
    root, file = corpus
    with serving(root, [status, status]) as server:
        get(file, target, server.url)
        assert len(server.asked) == 3
    check_whole(file, target)


def test_waits_double(corpus, target):
    root, file = corpus
    waits: list[float] = []
    with serving(root, [500] * 5) as server:
        check_refused(file, target, server.url, "500", retries=4, first_delay=1.0, sleep=waits.append)
    assert waits == [1, 2, 4, 8]


def test_no_route(corpus, target):
    _, file = corpus
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    check_refused(file, target, url, "no connection", url, retries=1)


def test_folder(corpus, target):
    root, file = corpus
    get(file, target, str(root))
    check_whole(file, target)


def test_folder_wrong(corpus, target, tmp_path):
    _, file = corpus
    missing = tmp_path / "nothing here"
    check_refused(file, target, str(missing), str(missing), "is not a folder")
    missing.mkdir()
    check_refused(file, target, str(missing), "cannot be read")
    other = missing / file.corpus / file.path
    other.parent.mkdir(parents=True)
    other.write_bytes(b"x" * file.bytes)
    check_refused(file, target, str(missing), "sha256", str(other))
    other.write_bytes(b"x")
    check_refused(file, target, str(missing), "size")
    assert not list(target.parent.iterdir())


def test_public_root_and_mirror_roots(corpus):
    _, file = corpus
    assert source_of(file, None).startswith(file.root)
    assert source_of(file, "") == source_of(file, None)
    assert source_of(file, "https://mirror/x/") == f"https://mirror/x/{file.corpus}/{file.path.replace(' ', '%20')}"
    assert source_of(file, "a/folder") == f"a/folder/{file.corpus}/{file.path}"


@pytest.mark.parametrize("folder", [True, False])
def test_full_disk(corpus, target, monkeypatch, folder):
    root, file = corpus

    class Full(io.FileIO):
        def write(self, data) -> int:
            if self.tell() > file.bytes // 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    real = Path.open
    monkeypatch.setattr(
        module.Path, "open", lambda path, mode="r": Full(path, mode) if "r" not in mode else real(path, mode)
    )
    with serving(root) as server, pytest.raises(UserError) as caught:
        get(file, target, str(root) if folder else server.url)
    message = str(caught.value)
    assert "\n" not in message and file.path in message
    assert f"the disk of {target.parent} is full" in message and "free some space" in message
    assert not list(target.parent.iterdir())


def test_full_disk_for_real(tmp_path):
    """A process that may write no more than a few bytes per file gets the operating system's own error."""
    body = b"line\n" * 50_000
    source = tmp_path / "mirror" / "blimp" / "x.jsonl"
    source.parent.mkdir(parents=True)
    source.write_bytes(body)
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(REPOSITORY / "scripts")!r})
from kn_thesis.corpora.fetch import fetch
from kn_thesis.corpora.fetch import PinnedFile
from kn_thesis.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
file = PinnedFile("blimp", "x.jsonl", "http://nowhere/", {len(body)}, {hashlib.sha256(body).hexdigest()!r})
try:
    fetch(file, {str(tmp_path / "out" / "x.jsonl")!r}, mirror={str(tmp_path / "mirror")!r})
except UserError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "the disk of" in out and "is full" in out and out.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_file_that_is_not_pinned(tmp_path):
    with pytest.raises(UserError, match=r"blimp has no file data/none\.jsonl"):
        pinned_file(MANIFEST, "blimp", "data/none.jsonl")
    with pytest.raises(UserError, match="there is no such file"):
        pinned_file(tmp_path / "none.yaml", "blimp", "data/x.jsonl")


def test_manifest_is_complete():
    content = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    tasks = yaml.safe_load((REPOSITORY / "resources" / "tasks.yaml").read_text(encoding="utf-8"))
    for corpus in content.values():
        assert corpus["licence"] and corpus["root"].startswith("https://")
        assert {"authors", "year", "title", "url"} <= set(corpus["citation"])
        assert all(
            set(entry) == {"bytes", "sha256"} and len(entry["sha256"]) == 64 for entry in corpus["files"].values()
        )
    for name, task in tasks["paradigms"].items():
        assert "fetched" not in task["corpora"] or f"data/{name}.jsonl" in content["blimp"]["files"]
    for name, task in tasks["relations"].items():
        if "fetched" in task["corpora"]:
            assert f"data/pattern_data/graphs_json/{name}.jsonl" in content["pararel"]["files"]
            assert f"data/trex_lms_vocab/{name}.jsonl" in content["pararel"]["files"]


def test_manifest_agrees_with_the_mirror():
    sums = MIRROR / "SHA256SUMS.tsv"
    if not sums.is_file():
        pytest.skip("no mirror of the public corpora beside the repository (../shared/corpora)")
    content = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    lines = sums.read_text(encoding="utf-8").splitlines()
    listed = {tuple(line.split("\t")) for line in lines if not line.startswith("#")}
    ours = {
        (corpus, path, str(entry["bytes"]), entry["sha256"])
        for corpus, section in content.items()
        for path, entry in section["files"].items()
    }
    assert ours == listed
    roots = {line.split()[4].rstrip(":"): line.split()[5] for line in lines if line.startswith("# public root")}
    assert roots == {corpus: section["root"] for corpus, section in content.items()}
