"""Hundreds of files of pairs, patterns and facts that are wrong in one way: refused by file and line, or counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from kn_thesis.corpora.blimp import load_pairs
from kn_thesis.corpora.pararel import load_facts, load_patterns
from kn_thesis.corpora.prompts import Settings, make_prompts
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers.bad_files import NO_FILES, broken_bytes, put_away
from tests.helpers.bad_input import TRIED, harmless, many, refused
from tests.helpers.bad_items import COUNTED, RIGHT, WRONG_LINES, file_with, lines, wrong_rows

KIND = "lines of items"
FILES = "files of items"
READERS: dict[str, Callable[[Path], Any]] = {"pairs": load_pairs, "patterns": load_patterns, "facts": load_facts}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, so that a file written to a relative path is noticed."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", RIGHT)
def test_wrong_rows(kind: str, tmp_path: Path) -> None:
    path, read = tmp_path / "items.jsonl", READERS[kind]
    before = len(TRIED.get(KIND, ()))

    @many(120)
    @given(wrong_rows(kind))
    def each(wrong: tuple[str, int, str]) -> None:
        path.write_text(wrong[2], encoding="utf-8")
        refused(KIND, wrong[0], lambda: read(path), folder=tmp_path, says=str(path))

    each()
    assert len(TRIED[KIND]) >= before + 60


@pytest.mark.parametrize("kind", RIGHT)
def test_wrong_lines(kind: str, tmp_path: Path) -> None:
    path, read = tmp_path / "items.jsonl", READERS[kind]
    for way, line in WRONG_LINES.items():
        path.write_text(file_with(kind, line), encoding="utf-8")
        refused(KIND, f"{kind}: {way}", lambda: read(path), folder=tmp_path, says=f"{path}, line 3")


@pytest.mark.parametrize("kind", RIGHT)
def test_wrong_files(kind: str, tmp_path: Path) -> None:
    path, read = tmp_path / "items.jsonl", READERS[kind]
    right = lines(RIGHT[kind]).encode()
    for way, place in NO_FILES.items():
        place(path)
        refused(FILES, f"{kind}: {way}", lambda: read(path), folder=tmp_path, says=str(path))
        put_away(path)
    for name in ("x" * 300, "a\0b", ""):
        refused(FILES, f"{kind}: name {name}", lambda name=name: read(name), folder=tmp_path)

    @many(30)
    @given(broken_bytes(right))
    def each(broken: tuple[str, bytes]) -> None:
        path.write_bytes(broken[1])
        refused(FILES, f"{kind}: {broken[0]}", lambda: read(path), folder=tmp_path, says=str(path))

    each()
    ends = [len(right) - len(right.splitlines(keepends=True)[-1]), len(right) - 1]

    @many(30)
    @given(st.integers(*ends).filter(lambda end: right[:end].rstrip(b"\n") and end not in ends))
    def cut(end: int) -> None:
        path.write_bytes(right[:end])
        refused(FILES, f"{kind}: cut at {end}", lambda: read(path), folder=tmp_path, says=str(path))

    cut()


@pytest.mark.parametrize("kind", RIGHT)
def test_files_that_mean_the_same(kind: str, tmp_path: Path) -> None:
    path, read = tmp_path / "items.jsonl", READERS[kind]
    text = lines(RIGHT[kind])
    path.write_text(text, encoding="utf-8")
    right = read(path)
    for way, odd in {
        "byte-order mark": "\ufeff" + text,
        "carriage returns": text.replace("\n", "\r\n"),
        "empty lines": text.replace("\n", "\n\n \n"),
        "no last line's end": text.rstrip(),
        "further keys": text.replace("{", '{"further": [1, {"a": null}], '),
        "escaped characters": text.replace("é", "\\u00e9").replace("ô", "\\u00f4"),
        "line separator in a key that nobody reads": text.replace("{", '{"further": "a\u2028b", ', 1),
    }.items():
        path.write_text(odd, encoding="utf-8", newline="")
        harmless(FILES, f"{kind}: {way}", lambda: read(path), right, folder=tmp_path)


def test_what_looks_like_a_date_is_text(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(lines([{"sub_label": "Ada", "obj_label": "1815-12-10", "uuid": "2020-01-01T00:00:00Z"}]))
    (fact,) = load_facts(path)
    assert (fact.object, fact.uuid) == ("1815-12-10", "2020-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def tokenizer() -> GapTokenizer:
    """A tokenizer whose tokens are words and punctuation marks."""
    texts = " ".join(str(value) for rows in RIGHT.values() for row in rows for value in row.values())
    words = sorted({*texts.replace("'", " ").split(), "[MASK]", "[UNK]", "'", ".", "all", "ish", "N", "Djamena", "d"})
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return GapTokenizer(inner, "masked", inner.token_to_id("[MASK]"))


@pytest.mark.parametrize("way", COUNTED)
def test_items_that_cannot_be_asked_are_counted(way: str, tokenizer: GapTokenizer, tmp_path: Path) -> None:
    part, change, reason = COUNTED[way]

    def asked(rows: dict[str, Any]) -> tuple[int, int]:
        kinds = ["pairs"] if part == "pairs" else ["patterns", "facts"]
        for kind in kinds:
            (tmp_path / kind).write_text(lines(rows[kind]), encoding="utf-8")
        files = {kind: tmp_path / kind for kind in kinds}
        _, prompts, counts = make_prompts("task", tokenizer, Settings(100, 10, 5, 1), **files)
        return len(prompts), counts[reason]

    before = asked(RIGHT)
    assert before[0] and not before[1]
    rows = {kind: [dict(row) for row in rows] for kind, rows in RIGHT.items()}
    rows[part][1] |= change
    TRIED.setdefault(KIND, set()).add(way)
    after = asked(rows)
    assert after[0] < before[0] and after[1] > 0
