"""Hundreds of configurations with one mistake each: every one is refused in a line with file, key and remedy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kn_thesis.configuration.check import check_configuration
from kn_thesis.configuration.overlays import read_layer
from kn_thesis.configuration.tasks import task_table
from tests.helpers.bad_configurations import (
    FREE,
    MONSTERS,
    RIGHT,
    STRANGE,
    Key,
    at,
    odd_values,
    with_value,
    wrong_keys,
    wrong_values,
)
from tests.helpers.bad_files import NO_FILES, broken_bytes, put_away
from tests.helpers.bad_input import TRIED, harmless, many, refused, shown

ROOT = Path(__file__).parents[2]
TASKS = task_table(yaml.safe_load((ROOT / "resources/tasks.yaml").read_text(encoding="utf-8")))
KIND = "configurations"
LINES = 6  # a name that is wrong is wrong wherever it is named
SMOKE = (ROOT / "tests/studies/smoke.yaml").read_bytes()
FILES = "configuration files"


def check(config: dict[str, Any], name: str = "study.yaml") -> dict[str, Any]:
    return check_configuration(config, [(name, config)], TASKS).model_dump()


def read(path: Path) -> dict[str, Any]:
    return check(read_layer(path), str(path))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, so that a file written to a relative path is noticed."""
    monkeypatch.chdir(tmp_path)


def test_the_right_one_is_right() -> None:
    check(RIGHT)


def test_wrong_values(tmp_path: Path) -> None:
    @many(600)
    @given(wrong_values())
    def each(wrong: tuple[str, Key, dict[str, Any]]) -> None:
        way, key, config = wrong
        name = f"{'.'.join(map(str, key))}: {way} {shown(at(config, key))}"
        text = refused(KIND, name, lambda: check(config), folder=tmp_path, says="study.yaml: ", lines=LINES)
        assert str(key[0]) in text, text

    each()
    assert len(TRIED[KIND]) >= 400


def test_wrong_keys(tmp_path: Path) -> None:
    before = len(TRIED.get(KIND, ()))

    @many(250)
    @given(wrong_keys())
    def each(wrong: tuple[str, Key, dict[str, Any]]) -> None:
        way, section, config = wrong
        content = at(config, section)
        name = f"{way} key in {'.'.join(map(str, section))}: {shown(sorted(map(shown, content)))}"
        refused(KIND, name, lambda: check(config), folder=tmp_path, says="study.yaml: ", lines=LINES)

    each()
    assert len(TRIED[KIND]) >= before + 150


@pytest.mark.parametrize("section", sorted(FREE), ids=".".join)
def test_names_that_are_none(section: tuple[str, ...], tmp_path: Path) -> None:
    """Names become parts of file names."""
    entries = at(RIGHT, section)
    for name in STRANGE:
        config = with_value(RIGHT, section, entries | {name: next(iter(entries.values()))})
        way = f"name {shown(name)} in {'.'.join(section)}"
        refused(KIND, way, partial(check, config), folder=tmp_path, says="study.yaml: ", lines=LINES)


@pytest.mark.parametrize("way", MONSTERS)
def test_monsters(way: str, tmp_path: Path) -> None:
    keys: list[Key] = [
        (),
        ("seed",),
        ("corpora", "mirror"),
        ("tasks", "paradigms"),
        ("tasks", "own"),
        ("models", "bert"),
    ]
    keys += [("models", "bert", "family"), ("models", "bert", "tasks"), ("editing", "editors", "rome", "families")]
    keys += [("editing", "tasks", 0), ("tracing", "tasks", 0), ("corpora", "source")]
    for key in keys:
        config = with_value(RIGHT, key, MONSTERS[way]) if key else RIGHT | {"extra": MONSTERS[way]}
        name = f"{way} at {'.'.join(map(str, key)) or 'a new key'}"
        # A list of wrong items is as many mistakes.
        refused(KIND, name, partial(check, config), folder=tmp_path, says="study.yaml: ", lines=25)


def test_odd_values_that_mean_the_same(tmp_path: Path) -> None:
    right = check(RIGHT)

    @many(20)
    @given(odd_values())
    def each(odd: tuple[str, dict[str, Any]]) -> None:
        harmless(KIND, odd[0], lambda: check(odd[1]), right, folder=tmp_path)

    each()


def test_no_files(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    for way, place in NO_FILES.items():
        place(path)
        refused(FILES, way, lambda: read(path), folder=tmp_path, says=str(path), lines=4)
        put_away(path)


def test_wrong_bytes(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"

    @many(60)
    @given(broken_bytes(SMOKE))
    def each(broken: tuple[str, bytes]) -> None:
        path.write_bytes(broken[1])
        refused(FILES, broken[0], lambda: read(path), folder=tmp_path, says=str(path))

    each()
    # Before its models a study cannot end.
    end = SMOKE.index(b"models:")

    @many(60)
    @given(st.integers(0, end))
    def cut(at: int) -> None:
        path.write_bytes(SMOKE[:at])
        refused(FILES, f"cut at {at}", lambda: read(path), folder=tmp_path, says=str(path), lines=LINES)

    cut()


DEEP = 100_000
LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
ADDED = {
    "key twice": "seed: 2\nseed: 3\n",
    "section twice": "tasks: {relations: [P36]}\n",
    "key twice in a section": "selection: {coarse: 0.2, coarse: 0.3}\n",
    "key twice in JSON's way": '"seed": 1\n"seed": 2\n',
    "endless alias": "selection: &s {adaptive: *s}\n",
    "endless list": "x: &x [*x]\n",
    "billion laughs": LAUGHS,
    "undefined alias": "seed: *nothing\n",
    "object of Python's": "seed: !!python/object/apply:os.system [touch pwned]\n",
    "name of Python's": "seed: !!python/name:os.system\n",
    "module of Python's": "seed: !!python/module:os\n",
    "tuple of Python's": "seed: !!python/tuple [1]\n",
    "tag of one's own": "seed: !mine 1\n",
    "number without end": f"seed: {'1' * 5000}\n",
    "hexadecimal number without end": f"seed: 0x{'f' * 5000}\n",
    "date that is none": "seed: 2020-13-45\n",
    "nested deep": f"seed: {'[' * DEEP}{']' * DEEP}\n",
    "nested deep, open": f"seed: {'{a: ' * DEEP}",
    "nested deep in blocks": "".join(f"{' ' * level}a:\n" for level in range(2000)),
    "tab": "\tseed: 2\n",
    "two documents": "---\nseed: 2\n",
    "list in the middle": "- seed\n",
    "colon in a value": "seed: 1: 2\n",
    "open bracket": "seed: [1\n",
    "open quote": "seed: 'x\n",
    "null byte": "seed: \0\n",
    "control character": "seed: \x08\n",
    "key that is a list": "? [a, b]\n: 1\n",
    "key that is a section": "? {a: b}\n: 1\n",
    "merge of what is not a section": "<<: 1\n",
    "template": "__use_yte__: true\n",
    "template's code": "?if True:\n  seed: 2\n",
    "yes": "seed: yes\n",
    "not a number": "seed: .nan\n",
    "infinity": "seed: .inf\n",
    "octal": "seed: 0o17\n",
    "sexagesimal": "corpora: {retries: 1:30:00}\n",
    "bytes": "seed: !!binary AQ==\n",
    "set": "seed: !!set {a, b}\n",
    "very long line": f"seed: {'x' * 10_000_000}\n",
    "very long key": f"{'x' * 1000}: 1\n",
}
WHOLE = {
    "list": b"- a\n",
    "word": b"word\n",
    "number": b"7\n",
    "comment": b"# nothing\n",
    "null": b"null\n",
    "JSON cut short": b'{"study": "x", ',
    "HTML": b"<html><body>404</body></html>\n",
    "picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
}


@pytest.mark.parametrize("way", [*ADDED, *WHOLE])
def test_wrong_yaml(way: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    if way in ADDED:
        text = SMOKE.decode().replace("study: smoke\n", "study: smoke\n" + ADDED[way], 1)
        path.write_text(text, encoding="utf-8")
    else:
        path.write_bytes(WHOLE[way])
    refused(FILES, way, lambda: read(path), folder=tmp_path, says=str(path), lines=LINES)


JSON = '{"study": "x", "tasks": {"relations": ["P36"]}, "models": {"a": {"family": "bert", "train": {}}}%s}'


@pytest.mark.parametrize(
    "more", [', "seed": 1, "seed": 2', ', "seed": NaN', ', "seed": 1,', "}", ', "study\\ud800": 1']
)
def test_wrong_json(more: str, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(JSON % more)
    refused(FILES, f"JSON{more}", lambda: read(path), folder=tmp_path, says=str(path))


def test_files_that_mean_the_same(tmp_path: Path) -> None:
    right = check(yaml.safe_load(SMOKE))
    for way, content in {
        "byte-order mark": b"\xef\xbb\xbf" + SMOKE,
        "carriage returns": SMOKE.replace(b"\n", b"\r\n"),
        "no last line's end": SMOKE.rstrip(),
        "spaces at the ends": SMOKE.replace(b"\n", b"  \n"),
        "head and foot of a document": b"---\n" + SMOKE + b"...\n",
    }.items():
        path = tmp_path / "study.yaml"
        path.write_bytes(content)
        harmless(FILES, way, lambda: read(tmp_path / "study.yaml"), right, folder=tmp_path)
