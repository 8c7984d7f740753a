"""Resources with one mistake each: every one is refused in one line that names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from kn_thesis.configuration.tasks import task_table
from kn_thesis.corpora.fetch import pinned_file
from kn_thesis.corpora.world.facts import load_facts
from kn_thesis.corpora.world.grammar import load_grammar
from kn_thesis.editing.examples import read_examples
from kn_thesis.editing.questions import load_synonyms
from kn_thesis.inputs import read_user_yaml
from kn_thesis.report.claims.rules import read_rules
from tests.helpers.bad_files import NO_FILES, broken_bytes, put_away
from tests.helpers.bad_input import TRIED, harmless, many, refused
from tests.helpers.bad_resources import RESOURCES, content, wrong_entries, wrong_table

KIND = "resources"
READERS: dict[str, Callable[[Path], Any]] = {
    "claims.yaml": read_rules,
    "tasks.yaml": lambda path: task_table(read_user_yaml(path)),
    "synonyms.csv": load_synonyms,
    "poster.yaml": read_examples,
    "corpora.yaml": lambda path: pinned_file(path, "pararel", "data/trex_lms_vocab/P36.jsonl"),
    "world/grammar.yaml": lambda path: load_grammar(path.parent),
    "world/relations.yaml": lambda path: load_facts(path.parent),
    "world/nouns.csv": lambda path: load_grammar(path.parent),
    "world/people.csv": lambda path: load_facts(path.parent),
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all resources of the world, because some files are read together."""
    shutil.copytree(RESOURCES / "world", tmp_path / "world")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", READERS)
def test_no_files_and_wrong_bytes(name: str, world: Path) -> None:
    path, read, right = world / name, READERS[name], (RESOURCES / name).read_bytes()
    for way, place in NO_FILES.items():
        put_away(path)
        place(path)
        says = "resources/tasks.yaml" if name == "tasks.yaml" and way in ("empty", "blank") else name
        refused(KIND, f"{name}: {way}", lambda: read(path), folder=world, says=says)
    put_away(path)

    @many(12)
    @given(broken_bytes(right))
    def each(broken: tuple[str, bytes]) -> None:
        path.write_bytes(broken[1])
        refused(KIND, f"{name}: {broken[0]}", lambda: read(path), folder=world, says=name)

    each()
    path.write_bytes(right)
    expected = read(path)
    for way, odd in {
        "byte-order mark": b"\xef\xbb\xbf" + right,
        "carriage returns": right.replace(b"\n", b"\r\n"),
        "no last line's end": right.rstrip(b"\n"),
    }.items():
        path.write_bytes(odd)
        harmless(KIND, f"{name}: {way}", lambda: read(path), expected, folder=world)


@pytest.mark.parametrize(
    ("name", "examples", "free"),
    [
        ("claims.yaml", 100, lambda key: "of" in key),
        ("tasks.yaml", 60, lambda key: False),
        ("poster.yaml", 40, lambda key: False),
        ("world/grammar.yaml", 60, lambda key: False),
        ("world/relations.yaml", 60, lambda key: False),
    ],
)
def test_wrong_entries(name: str, examples: int, free: Callable[[Any], bool], world: Path) -> None:
    path, read, right = world / name, READERS[name], content(name)
    before = len(TRIED.get(KIND, ()))

    @many(examples)
    @given(wrong_entries(right, free))
    def each(wrong: tuple[str, dict[str, Any]]) -> None:
        path.write_text(yaml.safe_dump(wrong[1], allow_unicode=True, sort_keys=False), encoding="utf-8")
        refused(KIND, f"{name}: {wrong[0]}", lambda: read(path), folder=world, says=Path(name).name)

    each()
    assert len(TRIED[KIND]) >= before + examples // 2


@pytest.mark.parametrize("name", ["synonyms.csv", "world/nouns.csv"])
def test_wrong_tables(name: str, world: Path) -> None:
    path, read = world / name, READERS[name]

    @many(40)
    @given(wrong_table(name))
    def each(wrong: tuple[str, str]) -> None:
        path.write_text(wrong[1], encoding="utf-8")
        refused(KIND, wrong[0], lambda: read(path), folder=world, says=Path(name).name)

    each()
