"""Two cold runs with different numbers of cores, one of them in an awkward place, give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import awkward_place
from tests.study import copy_repository, run_study


@pytest.fixture(scope="module")
def on_one_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """On one core; spaces and other scripts' letters in the folder's name, resources read-only, another disk."""
    study = copy_repository(tmp_path_factory.mktemp("one_core") / "Ünïcode folder 知識")
    with awkward_place(study, "200m"):
        yield run_study(study, 1)


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
def test_the_number_of_cores_and_the_place_change_no_byte(
    finished_study: Path, on_one_core: Path, pattern: str
) -> None:
    files = sorted(path.relative_to(finished_study) for path in finished_study.glob(pattern) if path.is_file())
    assert len(files) >= 4, pattern
    assert files == sorted(path.relative_to(on_one_core) for path in on_one_core.glob(pattern) if path.is_file())
    different = [
        str(file) for file in files if (finished_study / file).read_bytes() != (on_one_core / file).read_bytes()
    ]
    assert not different
