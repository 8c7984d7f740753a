"""The lock, the conda files and the schema are true to each other and to the code."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

from write_lock import Entry, read_lock
from write_schema import SCHEMA, schema_text

ROOT = Path(__file__).parents[2]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
IMPORT_NAMES = {"google": "protobuf", "yaml": "pyyaml", "IPython": "ipython", "jinja2": "jinja2"}
LOCKS = sorted((ROOT / "envs").glob("*.txt"))
CONDA_FILES = sorted((ROOT / "envs").glob("*.yaml"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    entries = read_lock((ROOT / "envs/requirements.txt").read_text())
    return {entry.name: entry.release.partition("==")[2] for entry in entries}


@pytest.mark.parametrize("file", LOCKS, ids=lambda file: file.stem)
def test_every_entry_of_the_lock_has_its_sums(file: Path) -> None:
    """Each line is `name==version`, perhaps a marker, and sha256 sums: a line without them is no entry."""
    entries = read_lock(file.read_text())
    head = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert file.read_text() == head + "".join(f"{entry.text()}\n" for entry in entries)
    names = [entry.name for entry in entries]
    assert names == sorted(set(names)) and all(entry.checksums for entry in entries)


@pytest.mark.parametrize(
    "line", ["torch", "torch==2.13.0", "torch>=2 --hash=sha256:" + "0" * 64, "torch==2 --hash=md5:0"]
)
def test_what_is_not_pinned_by_its_sums_is_no_entry(line: str) -> None:
    with pytest.raises(ValueError, match="no entry of a lock"):
        read_lock(line)


@pytest.mark.parametrize(
    ("marker", "wanted"),
    [
        ("", True),
        ("sys_platform == 'darwin'", True),
        ("python_full_version == '3.12.*'", True),
        ("sys_platform == 'win32'", False),
        ("implementation_name == 'pypy'", False),
    ],
)
def test_the_lock_is_for_linux_and_macos(marker: str, wanted: bool) -> None:
    assert Entry("name==1", marker, ("0" * 64,)).is_needed is wanted


def test_the_lock_is_what_runs_here_and_needs_nothing_else(lock: dict[str, str]) -> None:
    """Installed versions are the lock's (a build's name, `+cpu`, aside), and so is all that they need."""
    entries = read_lock((ROOT / "envs/requirements.txt").read_text())
    here = [entry.name for entry in entries if not entry.marker or Marker(entry.marker).evaluate()]
    assert len(here) > 100 and {name: version(name).partition("+")[0] for name in here} == {
        name: lock[name] for name in here
    }
    cuda = {entry.name for entry in read_lock((ROOT / "envs/cuda.txt").read_text())}
    for name in here:
        needs = [
            need
            for need in map(Requirement, requires(name) or [])
            if not need.marker or need.marker.evaluate({"extra": ""})
        ]
        assert {normal(need.name) for need in needs} <= {*lock, *cuda}, name
        assert all(need.specifier.contains(lock[normal(need.name)]) for need in needs if normal(need.name) in lock), (
            name
        )


def test_what_goes_on_top_of_the_lock_is_not_in_it(lock: dict[str, str]) -> None:
    for file in ("cuda", "slurm", "tools"):
        assert not {entry.name for entry in read_lock((ROOT / f"envs/{file}.txt").read_text())} & {*lock}
    cpu = read_lock((ROOT / "envs/cpu.txt").read_text())
    assert [entry.release for entry in cpu] == [f"torch=={lock['torch']}+cpu"]


def test_make_installs_the_lock_and_checks_its_sums() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "\nINSTALL = $(BIN)/pip install --quiet --require-hashes --no-deps\n" in makefile
    assert "pip install" not in makefile.replace("\nINSTALL = $(BIN)/pip install", "")


@pytest.mark.parametrize("file", CONDA_FILES, ids=lambda file: file.stem)
def test_conda_files_name_the_lock_s_versions(file: Path, lock: dict[str, str]) -> None:
    conda = {normal(CONDA_NAMES.get(name, name)): version for name, version in lock.items()} | lock
    entries = [entry.split(" ", 1) for entry in yaml.safe_load(file.read_text())["dependencies"]]
    versions = {name: version for name, version in entries if name != "python"}
    assert len(versions) > 4 and versions == {name: f"=={conda.get(normal(name))}" for name in versions}


def test_torch_is_the_release_that_the_study_was_made_with(lock: dict[str, str]) -> None:
    assert lock["torch"] == "2.13.0"


def test_every_rule_s_conda_file_holds_what_its_script_imports() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    from kn_thesis.code_hash import reached_modules

    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    uses = re.findall(r'"\.\./\.\./(envs/\w+\.yaml|scripts/\w+\.py)"', rules)
    pairs = [(Path(env).stem, Path(script).stem) for env, script in zip(uses[::2], uses[1::2], strict=True)]
    assert all("envs" in env for env in uses[::2]) and all("scripts" in script for script in uses[1::2])
    assert len(pairs) >= 15
    for environment, script in pairs:
        content = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())
        there = {normal(entry.split(" ")[0]) for entry in content["dependencies"]}
        for module in reached_modules(ROOT / f"scripts/{script}.py", ROOT / "scripts"):
            for name in imported(module):
                package = CONDA_NAMES.get(name, IMPORT_NAMES.get(name, name))
                assert normal(package) in there, (
                    f"{script} ({module.name}) imports {name}; envs/{environment}.yaml lacks it"
                )


def imported(module: Path) -> set[str]:
    """Top-level packages that a file imports, without the standard library and the project's own."""
    names = set()
    tree = ast.parse(module.read_text())
    hints = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in set(ast.walk(tree)) - hints:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return {name for name in names if name not in sys.stdlib_module_names and name != "kn_thesis"}


def test_the_schema_is_the_models_own() -> None:
    assert SCHEMA.read_text() == schema_text(), "run `make schema`"


@pytest.mark.parametrize(
    "file", [ROOT / "config.yaml", *sorted((ROOT / "resources/studies").glob("*.yaml"))], ids=lambda file: file.name
)
def test_studies_name_the_schema_at_their_top(file: Path) -> None:
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text())
    assert named and (file.parent / named[1]).resolve() == SCHEMA.resolve()


def test_every_entry_of_the_default_study_has_a_comment() -> None:
    """Keys that hold a value carry a comment; a section may carry it, too, and entries of lists need none."""
    lines = (ROOT / "config.yaml").read_text().splitlines()
    repeated = re.compile(
        r"^  (gpt2|llama):|family: (bert|gpt2|llama)$|world: (swapped|flat|one_way)$|device: cpu$|: \*[a-z_]+$"
    )
    bare = [
        line
        for line in lines
        if re.match(r"\s*[\w]+: \S", line) and "#" not in line and not repeated.search(line.rstrip())
    ]
    assert not bare
