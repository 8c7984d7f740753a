"""What several test files share: one real run of the smoke study, tiny models, a hub on loopback."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import Hub, make_model
from tests.study import copy_repository, run_study


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the smoke study has run on two cores; tests only read it."""
    return run_study(copy_repository(tmp_path_factory.mktemp("finished") / "study"), 2)


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
