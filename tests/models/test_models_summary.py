"""The table and the figure of what models have learned, and the check that stops a run."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kn_thesis.errors import UserError
from kn_thesis.models.demands import check_learned, demanded_accuracies, drop_unlearned, unlearned_tasks
from kn_thesis.models.summary import COLUMNS, summarise, wilson

DEMANDS = {"determiner_noun": 0.95, "agreement": 0.9, "facts_trained": 0.95, "facts_held_out": 0.8}


def evaluation(counts: dict[tuple[str, str, str], tuple[int, int]]) -> pd.DataFrame:
    """An evaluation with these (task, kind, split): (prompts, right)."""
    rows = [
        {
            "prompt": f"{task}-{split}-{number}",
            "task": task,
            "kind": kind,
            "group": "g",
            "split": split,
            "correct": number < right,
            "probability": 0.5,
            "foil_probability": 0.25 if kind == "paradigm" else math.nan,
            "rank": 1 + number,
        }
        for (task, kind, split), (n, right) in counts.items()
        for number in range(n)
    ]
    return pd.DataFrame(rows).astype({"probability": "float32", "foil_probability": "float32"})


GOOD = {
    ("determiner_noun_agreement_1", "paradigm", "held_out"): (100, 95),
    ("anaphor_gender_agreement", "paradigm", "held_out"): (100, 90),
    ("P36", "relation", "held_out"): (10, 8),
    ("P36", "relation", "trained"): (40, 38),
}


def plain_wilson(correct: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson 1927, written out."""
    p = correct / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def test_wilson_is_wilsons() -> None:
    cases = [(0, 7), (7, 7), (3, 7), (95, 100), (399, 400)]
    low, high = wilson([c for c, _ in cases], [n for _, n in cases], 0.95)
    expected = [plain_wilson(*case) for case in cases]
    np.testing.assert_allclose(low, [e[0] for e in expected], atol=1e-12)
    np.testing.assert_allclose(high, [e[1] for e in expected], atol=1e-12)


def test_summary_counts_and_orders() -> None:
    table = summarise({"b": evaluation(GOOD), "a": evaluation(GOOD)}, {"a": "bert", "b": "gpt2"}, 0.95, {"b": DEMANDS})
    assert table.columns.tolist() == COLUMNS
    assert table["model"].tolist() == ["b"] * 4 + ["a"] * 4
    assert table["task"].tolist()[:4] == ["determiner_noun_agreement_1", "anaphor_gender_agreement", "P36", "P36"]
    assert table["split"].tolist()[2:4] == ["trained", "held_out"]
    trained = table.iloc[2]
    assert (trained["family"], trained["n"], trained["correct"], trained["accuracy"]) == ("gpt2", 40, 38, 0.95)
    assert (trained["low"], trained["high"]) == pytest.approx(plain_wilson(38, 40))
    assert (trained["probability"], trained["rank"], trained["demanded"]) == (0.5, 20.5, 0.95)
    assert math.isnan(trained["foil_probability"]) and table["foil_probability"][0] == 0.25
    assert table["demanded"][4:].isna().all()
    assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()


@pytest.mark.parametrize(
    ("task", "kind", "split", "wanted"),
    [
        ("determiner_noun_agreement_with_adj_2", "paradigm", "held_out", 0.95),
        ("distractor_agreement_relational_noun", "paradigm", "held_out", 0.9),
        ("P36", "relation", "trained", 0.95),
        ("complaint_specialist", "relation", "held_out", 0.8),
    ],
)
def test_each_task_has_its_demand(task: str, kind: str, split: str, wanted: float) -> None:
    assert demanded_accuracies(task, kind, split, DEMANDS) == wanted
    assert math.isnan(demanded_accuracies(task, kind, split, None))


BAD = GOOD | {
    ("determiner_noun_agreement_1", "paradigm", "held_out"): (100, 94),
    ("P36", "relation", "held_out"): (10, 7),
}


def test_a_model_that_reaches_its_demands_exactly_passes(capsys: pytest.CaptureFixture[str]) -> None:
    check_learned("bert", evaluation(GOOD), DEMANDS, "stop")
    assert capsys.readouterr().out.splitlines()[2] == "P36 (trained): 38 of 40 right, 95.0%, 95.0% demanded"
    check_learned("bert", evaluation(GOOD), None, "stop")
    assert "nothing demanded" in capsys.readouterr().out
    assert unlearned_tasks(summarise({"a": evaluation(GOOD)}, {"a": "bert"}, 0.95, {"a": DEMANDS})).empty


def test_what_is_not_learned_is_marked_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    check_learned("tiny", evaluation(BAD), DEMANDS, "report")
    assert "P36 (held_out): 7 of 10 right, 70.0%, 80.0% demanded" in capsys.readouterr().out
    evaluations = {"tiny": evaluation(BAD), "other": evaluation(BAD)}
    summary = summarise(evaluations, {"tiny": "bert", "other": "gpt2"}, 0.95, {"tiny": DEMANDS})
    assert list(summary["learned"]) == ["no", "yes", "yes", "no"] + [""] * 4
    failed = unlearned_tasks(summary)
    assert list(failed["model"]) == ["tiny"] * 2 and list(failed["task"]) == ["determiner_noun_agreement_1", "P36"]
    table = pd.DataFrame(
        [(model, task) for model in ("tiny", "other") for task in ("P36", "anaphor_gender_agreement")],
        columns=["model", "task"],
    )
    kept = drop_unlearned(table, summary)
    assert list(zip(kept["model"], kept["task"], strict=True)) == [
        ("tiny", "anaphor_gender_agreement"),
        ("other", "P36"),
        ("other", "anaphor_gender_agreement"),
    ]


def test_all_failures_are_said_at_once_where_they_end_the_run() -> None:
    with pytest.raises(UserError) as caught:
        check_learned("tiny", evaluation(BAD), DEMANDS, "stop")
    first, *rest = str(caught.value).splitlines()
    assert "tiny" in first and "2 of 4" in first and "steps" in first and "must_learn" in first
    assert [line.split()[0] for line in rest] == ["determiner_noun_agreement_1", "P36"]
    check_learned("tiny", evaluation(BAD), None, "stop")


def test_figure_is_written_twice_the_same(tmp_path: Path) -> None:
    from kn_thesis.models.figures import plot_accuracy
    from kn_thesis.report.style import save_figure, use_style

    use_style()
    some = {key: value for key, value in GOOD.items() if key[0] != "anaphor_gender_agreement"}
    table = summarise({"bert": evaluation(GOOD), "other": evaluation(some)}, {"bert": "bert", "other": "llama"})
    for name in ("a", "b"):
        save_figure(plot_accuracy(table), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for text in (
        "determiner_noun_agreement_1",
        "P36",
        "other (llama)",
        "not asked",
        "seen in training",
    ):
        assert text in drawn


DRAW = """
import sys
import pandas as pd
from kn_thesis.models.figures import plot_accuracy
from kn_thesis.report.style import save_figure, use_style

use_style()
save_figure(plot_accuracy(pd.read_csv(sys.argv[1])), sys.argv[2] + ".svg", sys.argv[2] + ".png")
"""


def test_figure_does_not_follow_the_order_of_sets(tmp_path: Path) -> None:
    """Python orders sets of words by a seed that changes from process to process; tasks that a model lacks are one."""
    some = dict(list(GOOD.items())[:1])
    table = summarise({"bert": evaluation(GOOD), "other": evaluation(some)}, {"bert": "bert", "other": "llama"})
    table.to_csv(tmp_path / "models.csv", index=False)
    drawn = set()
    for seed in "123":
        command = [sys.executable, "-c", DRAW, str(tmp_path / "models.csv"), str(tmp_path / seed)]
        path = str(Path(__file__).parents[2] / "scripts")
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path})
        drawn.add((tmp_path / f"{seed}.svg").read_bytes())
    assert len(drawn) == 1
