"""The rule by which tests are quick, on functions with and without what makes a test slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from kn_thesis.models import train
from tests.helpers import slurm_run, study
from tests.helpers.browser import Browser
from tests.helpers.quick import SLOW, _names, _reached, is_quick
from tests.helpers.study import planned_jobs


def starts_snakemake_two_calls_away() -> object:
    return planned_jobs


def through_a_module() -> object:
    return study.run_study


def through_a_class() -> object:
    return Browser


def through_a_third_module() -> object:
    return slurm_run.run_on_slurm


def trains() -> object:
    return train.train_model


def imports_where_it_stands() -> None:
    import subprocess  # noqa: F401


@contextmanager
def decorated() -> Iterator[None]:
    through_a_module()
    yield


def uses_something_decorated() -> Callable[..., object]:
    return lambda: decorated()


def reads_a_file() -> object:
    return study.edit, study.ROOT


def is_slow(function: Callable[..., object]) -> bool:
    return any(_names(one) & SLOW for one in _reached(function))


@pytest.mark.parametrize(
    ("function", "slow"),
    [
        *((function, True) for function in (starts_snakemake_two_calls_away, through_a_module, through_a_class)),
        *((function, True) for function in (through_a_third_module, trains, imports_where_it_stands)),
        (uses_something_decorated, True),
        (reads_a_file, False),
        (is_slow, False),
    ],
)
def test_a_function_is_slow_by_what_it_reaches(function: Callable[..., object], slow: bool) -> None:
    assert is_slow(function) is slow


@pytest.mark.parametrize(("fixture", "quick"), [(starts_snakemake_two_calls_away, False), (reads_a_file, True)])
def test_what_a_test_is_given_counts_as_well(fixture: Callable[..., object], quick: bool) -> None:
    given = {"study": [SimpleNamespace(func=trains), SimpleNamespace(func=fixture)]}  # the last one is used
    item: Any = SimpleNamespace(function=reads_a_file, _fixtureinfo=SimpleNamespace(name2fixturedefs=given))
    assert is_quick(item) is quick


def test_tests_are_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("quick")
    wants_a_study = [item for item in request.session.items if "finished_study" in getattr(item, "fixturenames", ())]
    assert not [item.nodeid for item in wants_a_study if item.get_closest_marker("quick")]
