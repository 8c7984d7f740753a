"""Two cold runs with different numbers of cores give the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.study import copy_repository, run_study


@pytest.fixture(scope="module")
def on_one_core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(copy_repository(tmp_path_factory.mktemp("one_core") / "study"), 1)


@pytest.mark.parametrize(
    "pattern",
    [
        "results/tables/*.csv",
        "results/models/*/*",
        "results/figures/*",
        "results/localization/*/*",
        "results/tracing/*/*",
        "results/editing/**/*",
    ],
)
def test_the_number_of_cores_changes_no_byte(finished_study: Path, on_one_core: Path, pattern: str) -> None:
    files = sorted(path.relative_to(finished_study) for path in finished_study.glob(pattern) if path.is_file())
    assert len(files) >= 4, pattern
    assert files == sorted(path.relative_to(on_one_core) for path in on_one_core.glob(pattern) if path.is_file())
    different = [
        str(file) for file in files if (finished_study / file).read_bytes() != (on_one_core / file).read_bytes()
    ]
    assert not different
