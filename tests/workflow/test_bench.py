"""What `make bench` says of ratios, and when it fails: for what is computed, and never for how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench_models import concluded, stated


@pytest.mark.parametrize(
    ("value", "bounds", "verdict"),
    [
        (7.9, {"least": 8.0}, "below"),
        (8.0, {"least": 8.0}, "met"),
        (2.1, {"least": 0.5, "most": 2.0}, "above"),
        (0.4, {"least": 0.5, "most": 2.0}, "below"),
        (3.0, {}, ""),
    ],
)
def test_a_ratio_is_held_against_what_is_stated(value: float, bounds: dict[str, float], verdict: str) -> None:
    assert stated(value, **bounds)["verdict"] == verdict


def test_a_ratio_below_its_bound_is_said_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"model": "bert", "measure": "speed-up"} | stated(7.9, least=8), {"model": "bert", "seconds": "1.2"}]
    assert concluded(rows, ("model", "measure", "seconds"), [], tmp_path / "bench.csv") == 0
    head, line, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["ratio", "measured", "at", "least", "at", "most"]
    assert line.split() == ["bert", "speed-up", "7.9", "8", "below"]
    assert (tmp_path / "bench.csv").read_text().splitlines() == [
        "model,measure,seconds,value,least,most,verdict",
        "bert,speed-up,,7.9,8,,below",
        "bert,,1.2,,,,",
    ]


def test_another_result_than_the_plain_algorithm_s_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert concluded([], ("model",), ["bert differs by 1"], tmp_path / "bench.csv") == 1
    assert "MISSED: bert differs by 1" in capsys.readouterr().out
