"""What several test files share: one real run of the smoke study."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.study import copy_repository, run_study


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the smoke study has run on two cores; tests only read it."""
    return run_study(copy_repository(tmp_path_factory.mktemp("finished") / "study"), 2)
