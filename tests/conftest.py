"""What several test files share: one real run of the smoke study, tiny models, a hub on loopback."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread each for processes that share the machine; read by torch
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock

from tests.helpers.bad_input import TRIED
from tests.helpers.browser import Browser, find_chromium
from tests.helpers.hub_server import Hub, make_model
from tests.helpers.quick import is_quick
from tests.helpers.study import copy_repository, run_study

# The longest files come first, so that no process is left alone with one at the end. Whoever wants the finished study
# waits for it: it is run by the first, while the second process runs the study a second time, and a third needs none.
FIRST = (
    "test_on_slurm.py",
    "test_family_studies.py",
    "test_reproducible.py",
    "test_memory.py",
    "test_reruns.py",
    "test_incremental.py",
)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tests, and put the longest files first."""
    for item in items:
        if isinstance(item, pytest.Function) and is_quick(item):
            item.add_marker(pytest.mark.quick)
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


WRONG_INPUTS = pytest.StashKey[dict[str, int]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of tests hands over how many wrong inputs it tried."""
    found = {kind: len(ways) for kind, ways in TRIED.items()}
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["wrong_inputs"] = found
    else:
        _add_wrong_inputs(session.config, found)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what processes of tests have handed over."""
    _add_wrong_inputs(node.config, getattr(node, "workeroutput", {}).get("wrong_inputs", {}))


def _add_wrong_inputs(config: pytest.Config, found: dict[str, int]) -> None:
    counts = config.stash.setdefault(WRONG_INPUTS, {})
    for kind, count in found.items():
        counts[kind] = counts.get(kind, 0) + count


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """How many different wrong inputs were tried, by kind."""
    counts = config.stash.get(WRONG_INPUTS, {})
    if counts:
        terminalreporter.section(f"{sum(counts.values())} wrong inputs tried")
        for kind in sorted(counts):
            terminalreporter.write_line(f"{counts[kind]:6} {kind}")


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A copy of the repository in which the smoke study has run on two cores; tests only read it.

    Processes of tests share one copy: the first to want it runs it, others wait. KN_FINISHED_STUDY names a copy in
    which it has run already (`make reproduce` leaves two) and spares the tests the time.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    study, done, failed = (shared / name for name in ("finished-study", "finished-study.done", "finished-study.failed"))
    with FileLock(f"{study}.lock"):
        if failed.exists():
            pytest.fail("the smoke study failed in another process of tests: its words stand there", pytrace=False)
        if not done.exists():
            failed.touch()
            if there := os.environ.get("KN_FINISHED_STUDY"):
                shutil.copytree(there, study, symlinks=True)
            else:
                run_study(copy_repository(study), 2)
            failed.rename(done)
    return study


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One headless Chromium for all pages that tests look at."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine: install it to have the report looked at (apt-get install chromium)")
    with Browser(program, tmp_path_factory.mktemp("browser") / "profile") as running:
        yield running


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders by name: gpt2, bert, and a gpt2 with pickled weights and nothing else."""
    root = tmp_path_factory.mktemp("models")
    found = {family: make_model(root / family, family) for family in ("gpt2", "bert")}
    found["pickle"] = Path(shutil.copytree(found["gpt2"], root / "pickle"))
    (found["pickle"] / "model.safetensors").rename(found["pickle"] / "pytorch_model.bin")
    (found["bert"] / "notes.txt").write_text("not wanted")
    (found["bert"] / "flax_model.msgpack").write_text("not wanted")
    return found


@pytest.fixture(scope="session")
def hub(tiny_models: dict[str, Path]) -> Iterator[Hub]:
    with Hub(tiny_models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
