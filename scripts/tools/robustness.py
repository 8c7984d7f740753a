"""Train the default study's models over seeds, instruction sets and worlds, and tabulate their accuracy.

    python scripts/tools/robustness.py [--seeds 6] [--cores 2] [--folder results/robustness] [--page FILE.md] [--gather]

Sums round differently on another kind of processor, and a training run then takes another course. Environment variables
make PyTorch's libraries compute as older processors do, which shows on one machine whether the models learn on others.
The workflow's own rules train the models, so an interrupted run continues where it stopped. The table is printed,
written to robustness.csv in the folder, and put into the page with the processor and the date. `--gather` runs nothing
and tabulates the finished runs.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import _path  # noqa: F401
from kn_thesis.errors import UserError
from kn_thesis.files import whole_file, write_csv
from kn_thesis.inputs import read_user_yaml
from kn_thesis.models.demands import unlearned_tasks
from kn_thesis.models.summary import summarise
from rehearse import workflow_made

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS: dict[str, dict[str, str]] = {  # variables for torch, oneDNN and MKL to compute as an older processor
    "native": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"},
    "SSE": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
}
FAMILIES = ("bert", "gpt2", "llama")
SEEDS_ELSEWHERE = 2  # seeds of each family on each instruction set but the native one
SEEDS_OF_WORLDS = 3  # seeds of each model of another world
COLUMNS = ("model", "world", "seed", "instructions", "steps", "seconds", "learned")
COLUMNS += ("validation", "validation_task", "held_out", "held_out_task", "room")
HEAD = ("model", "world", "seed", "instruction set", "steps", "CPU s", "learned")
HEAD += ("worst validation", "worst held out", "least room")
MARKS = ("<!-- table -->", "<!-- end of the table -->")


def main() -> int:
    """Run the trainings, print and write the table; return 1 after a user's mistake or a failed run, else 0."""
    parser = argparse.ArgumentParser(description="Train over seeds, instruction sets and worlds.", allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=6, help="of each family, with this processor's own instructions")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="trainings at the same time")
    parser.add_argument("--folder", type=Path, default=Path("results/robustness"), help="folder of all files")
    parser.add_argument("--page", type=Path, help="a Markdown file whose table is replaced")
    parser.add_argument("--gather", action="store_true", help="run nothing; tabulate the finished runs")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    try:
        for name, variables in INSTRUCTIONS.items():
            place = (arguments.folder / name).resolve()
            study = study_of(arguments.seeds if name == "native" else SEEDS_ELSEWHERE, worlds=name == "native")
            if not arguments.gather:
                run(place, study, arguments.cores, variables)
            rows += measured(place, study, name)
            write_csv(arguments.folder / "robustness.csv", COLUMNS, rows)
        print(page := table(rows))
        if arguments.page:
            put_into(arguments.page, page)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    failed = [row for row in rows if row["learned"] != "yes"]
    print(f"{len(rows)} runs, {len(failed)} of which have not learned every task as demanded")
    return 0


def study_of(seeds: int, worlds: bool) -> dict[str, Any]:
    """Return the default study with each of its models once per seed; `worlds` includes the models of other worlds."""
    study = read_user_yaml(ROOT / "config.yaml")
    models = {}
    for name, model in study["models"].items():
        if name not in FAMILIES and not worlds:
            continue
        for seed in range(1, (seeds if name in FAMILIES else SEEDS_OF_WORLDS) + 1):
            models[f"{name}_{seed}"] = model | {"train": model["train"] | {"seed": seed}}
    settings = {key: study[key] for key in ("seed", "corpora", "tasks")}
    return {"study": "robustness", **settings, "models": models, "tracing": {"tasks": []}}


def run(place: Path, study: Mapping[str, Any], cores: int, variables: Mapping[str, str]) -> None:
    """Train and evaluate every model of a study in its folder.

    Raises:
        UserError: a job fails.
    """
    place.mkdir(parents=True, exist_ok=True)
    (place / "study.yaml").write_text(yaml.safe_dump(dict(study), sort_keys=False), encoding="utf-8")
    print(f"{place.name}: {len(study['models'])} models; {place / 'run.log'} says how far it is", flush=True)
    if not workflow_made(place, ["results/tables/models.csv"], cores, variables):
        raise UserError(f"{place.name}: a run failed; {place / 'run.log'} says why")


def measured(place: Path, study: Mapping[str, Any], instructions: str) -> Iterator[dict[str, Any]]:
    """Yield a row of COLUMNS for each model that has been trained and evaluated.

    `validation` and `held_out` are the lowest accuracies of a task and split, with their names. `room` is the smallest
    margin of an accuracy on held-out or trained items over its required accuracy.
    """
    for name, model in study["models"].items():
        evaluation = place / f"results/models/{name}.evaluation.parquet"
        if not evaluation.is_file():
            continue
        families, demands = {name: model["family"]}, {name: model["must_learn"]}
        summary = summarise({name: pd.read_parquet(evaluation)}, families, demands=demands)
        training = json.loads((place / f"results/models/{name}/training.json").read_text(encoding="utf-8"))
        with (place / f"results/benchmarks/train_model/{name}.tsv").open(encoding="utf-8") as lines:
            took = next(csv.DictReader(lines, delimiter="\t"))
        required = summary[summary["demanded"].notna()].to_dict("records")
        worst_validation = min(training["validation"], key=lambda row: row["accuracy"])
        worst_held_out = min(required, key=lambda row: row["accuracy"])
        yield {
            "model": name.rsplit("_", 1)[0],
            "world": model.get("world", "baseline"),
            "seed": model["train"]["seed"],
            "instructions": instructions,
            "steps": training["steps"],
            "seconds": f"{float(took['cpu_time']):.0f}",
            "learned": "no" if len(unlearned_tasks(summary)) else "yes",
            "validation": f"{worst_validation['accuracy']:.3f}",
            "validation_task": f"{worst_validation['task']} ({worst_validation['split']})",
            "held_out": f"{worst_held_out['accuracy']:.3f}",
            "held_out_task": f"{worst_held_out['task']} ({worst_held_out['split']})",
            "room": f"{min(row['accuracy'] - row['demanded'] for row in required):.3f}",
        }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table below a line on the machine."""
    cells = [
        [
            *(str(row[column]) for column in COLUMNS[:7]),
            *(f"{row[split]} {row[f'{split}_task'].replace('_', ' ')}" for split in ("validation", "held_out")),
            row["room"],
        ]
        for row in rows
    ]
    lines = [HEAD, ["---"] * len(HEAD), *cells]
    heading = f"{len(rows)} runs on {processor()}, {datetime.date.today():%Y-%m-%d}.\n\n"
    return heading + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def put_into(page: Path, text: str) -> None:
    """Replace the text between the marks of a page.

    Raises:
        UserError: a mark is missing.
    """
    content = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, _, rest = content.partition(MARKS[0])
    _, mark, after = rest.partition(MARKS[1])
    if not mark:
        raise UserError(f"{page}: the lines {MARKS[0]} and {MARKS[1]} are missing; add them where the table belongs")
    with whole_file(page) as path:
        path.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}", encoding="utf-8")


def processor() -> str:
    """Return the processor's name on Linux, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
