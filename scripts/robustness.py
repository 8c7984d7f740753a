"""Train the default study's models over seeds, instruction sets and worlds, and tabulate what every run has learned.

    python scripts/robustness.py [--seeds 6] [--cores 2] [--folder results/robustness] [--page FILE.md] [--gather]

Sums round differently on another kind of processor, and a training run then takes another course. PyTorch's libraries
can be told to compute as older processors do; that shows on one machine whether the models learn on others. The runs go
through the workflow's own rules, so that a run that was cut off goes on where it was. The table is printed, written to
robustness.csv in the folder and put into the page, with the processor and the date. `--gather` runs nothing and
tabulates what has ended.
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

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file, write_csv
from kn_thesis.given_yaml import given_yaml
from kn_thesis.models.learned import not_learned
from kn_thesis.models.summary import summarise
from rehearse import workflow_made

ROOT = Path(__file__).resolve().parents[1]
INSTRUCTIONS: dict[str, dict[str, str]] = {  # what makes torch, oneDNN and MKL compute as an older processor does
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"},
    "SSE": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    "native": {},
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
    """Run, print, write; 1 after a user's mistake or a run that failed."""
    parser = argparse.ArgumentParser(description="Train over seeds, instruction sets and worlds.", allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=6, help="of each family, on this processor as it is")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="trainings at once")
    parser.add_argument("--folder", type=Path, default=Path("results/robustness"), help="all of it lies there")
    parser.add_argument("--page", type=Path, help="a Markdown file whose table is replaced")
    parser.add_argument("--gather", action="store_true", help="run nothing: tabulate the runs that have ended")
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
    """The default study with each of its models once per seed; with `worlds` those of other worlds, too."""
    study = given_yaml(ROOT / "config.yaml")
    models = {}
    for name, model in study["models"].items():
        if name not in FAMILIES and not worlds:
            continue
        for seed in range(1, (seeds if name in FAMILIES else SEEDS_OF_WORLDS) + 1):
            models[f"{name}_{seed}"] = model | {"train": model["train"] | {"seed": seed}}
    keep = {key: study[key] for key in ("seed", "corpora", "tasks")}
    return {"study": "robustness", **keep, "models": models, "tracing": {"tasks": []}}


def run(place: Path, study: Mapping[str, Any], cores: int, variables: Mapping[str, str]) -> None:
    """Train and evaluate every model of a study in its folder. Raises UserError when a job fails."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "study.yaml").write_text(yaml.safe_dump(dict(study), sort_keys=False), encoding="utf-8")
    print(f"{place.name}: {len(study['models'])} models; {place / 'run.log'} says how far it is", flush=True)
    if not workflow_made(place, ["results/tables/models.csv"], cores, variables):
        raise UserError(f"{place.name}: a run failed; {place / 'run.log'} says why")


def measured(place: Path, study: Mapping[str, Any], instructions: str) -> Iterator[dict[str, Any]]:
    """A row of COLUMNS for each model that has been trained and evaluated.

    validation, held_out: the lowest accuracy of a task or split, with its name. room: the least by which an accuracy on
    held-out or trained items passes what is demanded of it.
    """
    for name, model in study["models"].items():
        evaluated = place / f"results/models/{name}.evaluation.parquet"
        if not evaluated.is_file():
            continue
        families, demands = {name: model["family"]}, {name: model["must_learn"]}
        summary = summarise({name: pd.read_parquet(evaluated)}, families, demands=demands)
        training = json.loads((place / f"results/models/{name}/training.json").read_text(encoding="utf-8"))
        with (place / f"results/benchmarks/train_model/{name}.tsv").open(encoding="utf-8") as lines:
            took = next(csv.DictReader(lines, delimiter="\t"))
        asked = summary[summary["demanded"].notna()].to_dict("records")
        validated = min(training["validation"], key=lambda row: row["accuracy"])
        worst = min(asked, key=lambda row: row["accuracy"])
        yield {
            "model": name.rsplit("_", 1)[0],
            "world": model.get("world", "baseline"),
            "seed": model["train"]["seed"],
            "instructions": instructions,
            "steps": training["steps"],
            "seconds": f"{float(took['cpu_time']):.0f}",
            "learned": "no" if len(not_learned(summary)) else "yes",
            "validation": f"{validated['accuracy']:.3f}",
            "validation_task": f"{validated['task']} ({validated['split']})",
            "held_out": f"{worst['accuracy']:.3f}",
            "held_out_task": f"{worst['task']} ({worst['split']})",
            "room": f"{min(row['accuracy'] - row['demanded'] for row in asked):.3f}",
        }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table under a line on the machine."""
    cells = [
        [
            *(str(row[column]) for column in COLUMNS[:7]),
            *(f"{row[split]} {row[f'{split}_task'].replace('_', ' ')}" for split in ("validation", "held_out")),
            row["room"],
        ]
        for row in rows
    ]
    lines = [HEAD, ["---"] * len(HEAD), *cells]
    said = f"{len(rows)} runs on {processor()}, {datetime.date.today():%Y-%m-%d}.\n\n"
    return said + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page. Raises UserError when they are not there."""
    content = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, _, rest = content.partition(MARKS[0])
    _, mark, after = rest.partition(MARKS[1])
    if not mark:
        raise UserError(f"{page}: the lines {MARKS[0]} and {MARKS[1]} are missing; add them where the table belongs")
    with whole_file(page) as path:
        path.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}", encoding="utf-8")


def processor() -> str:
    """The processor's name, as Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
