"""Rehearse the paper's study: random models of its shapes through the workflow's own rules, on a few real prompts.

    python scripts/rehearse.py [--models gpt2 gpt2-xl ...] [--folder results/rehearsal] [--cores 2]

No weights are needed, only BLiMP and ParaRel (or a mirror: KN_MIRROR) and memory: each model is made at random in the
hub's format, and its study is written beside it with the paper's settings. The table has time and peak memory of every
job, beside what `make plan` says of it; it is printed and written to rehearsal.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kn_thesis.errors import UserError
from kn_thesis.files import write_csv
from kn_thesis.given_yaml import given_yaml
from kn_thesis.plan.table import aligned
from make_random_model import make_model
from plan_study import read_plan

ROOT = Path(__file__).resolve().parents[1]
PAPER = ROOT / "resources/studies/paper.yaml"
TASK = "distractor_agreement_relational_noun"  # every family takes it, and a random model gets half of it right
COLUMNS = ("model", "dtype", "device", "chapter", "prompts", "seconds", "peak_gb", "planned_seconds", "planned_gb")
HEAD = ("model", "dtype", "device", "chapter", "prompts", "s", "peak GB", "planned s", "planned GB")
CHAPTERS = {  # rule: chapter
    "attribute_neurons": "localization",
    "select_neurons": "localization (selection)",
    "suppress_neurons": "suppression",
    "trace_prompts": "tracing",
    "edit_tasks": "editing",
}


@dataclass(frozen=True)
class Rehearsal:
    """family, hub id and dtype of a model; prompts of each chapter; draws of the noise; chapters, all by default."""

    family: str
    identifier: str
    dtype: str = "float32"
    prompts: int = 20
    draws: int = 1
    chapters: tuple[str, ...] = ("localization", "suppression", "tracing", "editing")


# Time of tracing is proportional to the draws: the paper's study has ten, the rehearsal on a CPU has fewer.
REHEARSALS = {
    "bert-base-cased": Rehearsal("bert", "google-bert/bert-base-cased", draws=1),
    "gpt2": Rehearsal("gpt2", "openai-community/gpt2", draws=2),
    "gpt2-xl": Rehearsal("gpt2", "openai-community/gpt2-xl", prompts=1),
    "llama-2-7b": Rehearsal(
        "llama", "meta-llama/Llama-2-7b-hf", "bfloat16", prompts=1, chapters=("localization", "tracing")
    ),
}


def main() -> int:
    """Make, run, print, write; 1 after a user's mistake or a job that failed."""
    parser = argparse.ArgumentParser(description="Rehearse the paper's study.", allow_abbrev=False)
    parser.add_argument("--models", nargs="+", choices=REHEARSALS, default=list(REHEARSALS))
    parser.add_argument("--folder", type=Path, default=Path("results/rehearsal"), help="all of it lies there")
    parser.add_argument("--cores", type=int, default=1, help="jobs at once")
    arguments = parser.parse_args()
    rows = []
    try:
        for name in arguments.models:
            rows += rehearsed(name, REHEARSALS[name], arguments.folder, arguments.cores)
            write_csv(arguments.folder / "rehearsal.csv", COLUMNS, rows)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(shown(rows))
    print(f"The table: {(arguments.folder / 'rehearsal.csv').resolve()}")
    return 0


def rehearsed(name: str, rehearsal: Rehearsal, folder: Path, cores: int) -> list[dict[str, Any]]:
    """Rows of one model. Raises UserError when its study fails."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    file = place / "study.yaml"
    study = study_of(name, rehearsal)
    # A folder of a model is looked at before anything runs: while there is none, the study names the hub's model.
    named = study | {"models": {name: {"family": rehearsal.family, "hub": {"id": rehearsal.identifier}}}}
    file.write_text(yaml.safe_dump(named, sort_keys=False), encoding="utf-8")
    pairs = f"results/corpora/fetched/paradigms/{TASK}.jsonl"
    run(name, place, [pairs], cores)
    if not (place / "model").exists():
        print(f"{name}: making a random model of {rehearsal.identifier}'s shape", flush=True)
        make_model(place / "model", rehearsal.identifier, rehearsal.dtype, place / pairs)
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    print(f"{name}: running; {place / 'run.log'} says how far it is", flush=True)
    run(name, place, targets(name, rehearsal), cores)
    plan, _ = read_plan(place, ["--configfile", str(file)])
    return list(measured(name, rehearsal, place, plan["jobs"]))


def run(name: str, place: Path, files: Sequence[str], cores: int) -> None:
    """Let the workflow make files. Raises UserError when it fails."""
    if not workflow_made(place, files, cores):
        raise UserError(f"{name}: the rehearsal failed; {place / 'run.log'} says why")


def workflow_made(place: Path, files: Sequence[str], cores: int, variables: Mapping[str, str] | None = None) -> bool:
    """Whether the workflow has made files of the study in a folder's study.yaml; run.log there has what it printed.

    variables: of the environment, over those that are set.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), *files]
    command += ["--directory", str(place), "--configfile", str(place / "study.yaml"), "--cores", str(cores)]
    with (place / "run.log").open("w", encoding="utf-8") as said:
        done = subprocess.run(  # noqa: S603 - Snakemake, on our files
            command, stdout=said, stderr=subprocess.STDOUT, env=os.environ | (variables or {})
        )
    return done.returncode == 0


def study_of(name: str, rehearsal: Rehearsal) -> dict[str, Any]:
    """The paper's settings, for one model and task, on few prompts."""
    paper = given_yaml(PAPER)
    few = rehearsal.prompts
    study = {key: paper[key] for key in ("seed", "corpora", "attribution", "suppression", "tracing", "editing")}
    editors = {key: paper["editing"]["editors"][key] for key in ("rome", "knowledge_neuron", "fine_tuning")}
    if name == "gpt2":  # of a quarter of gpt2-xl's depth
        for key in ("rome", "fine_tuning"):
            editors[key] = editors[key] | {"families": {"gpt2": editors[key]["families"]["gpt2"] | {"layer": 4}}}
    return study | {
        "study": f"rehearsal-{name}",
        # A random model gets half of the pairs right, and what is wrong is neither traced nor edited.
        "tasks": {"paradigms": [TASK], "evaluated": max(8, 2 * few), "attributed": few},
        "models": {
            name: {"family": rehearsal.family, "path": "model", "dtype": rehearsal.dtype, "device": device()}
        },
        "suppression": {"random": {"sets": paper["suppression"]["random"]["sets"], "prompts": max(1, few // 2)}},
        "tracing": paper["tracing"] | {"shown": [], "prompts": few, "draws": rehearsal.draws},
        "editing": {
            "tasks": [TASK],
            "requests": few,
            "editors": {
                key: editor for key, editor in editors.items() if rehearsal.family in editor["families"]
            },
            "continuations": paper["editing"]["continuations"],
            "sweep": {"tasks": []},
            "batch_tokens": paper["editing"]["batch_tokens"],
        },
    }  # fmt: skip


def targets(name: str, rehearsal: Rehearsal) -> list[str]:
    """The files that its chapters end in."""
    files = {
        "localization": [f"results/localization/{name}/{TASK}.statistics.parquet"],
        "suppression": [f"results/suppression/{name}/{TASK}.effects.parquet"],
        "tracing": [f"results/tracing/{name}/{TASK}.effects.parquet"],
        "editing": [
            f"results/editing/{name}/{editor}/{TASK}.edits.parquet"
            for editor in study_of(name, rehearsal)["editing"]["editors"]
        ],
    }
    return [file for chapter in rehearsal.chapters for file in files[chapter]]


def measured(name: str, rehearsal: Rehearsal, place: Path, jobs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each job with the model: Snakemake's own measurement, and what was planned for it."""
    planned = {job["name"]: job for job in jobs}
    for rule, chapter in CHAPTERS.items():
        for file in sorted((place / "results/benchmarks" / rule).rglob("*.tsv")):
            with file.open(encoding="utf-8") as lines:
                took = next(csv.DictReader(lines, delimiter="\t"))
            editor = f"_{file.stem}" if rule == "edit_tasks" else ""
            job = planned[f"{rule}_{name}_1{editor}"]
            yield {
                "model": name,
                "dtype": rehearsal.dtype,
                "device": device(),
                "chapter": chapter + _remark(rule, file.stem, rehearsal),
                "prompts": rehearsal.prompts,
                "seconds": f"{float(took['s']):.1f}",
                "peak_gb": f"{float(took['max_rss']) / 1024:.2f}",
                "planned_seconds": f"{job['seconds']:.1f}",
                "planned_gb": f"{job['peak_mb'] / 1024:.2f}",
            }


def device() -> str:
    """Where models run, and what is planned for: "cuda" where there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _remark(rule: str, editor: str, rehearsal: Rehearsal) -> str:
    """What of the chapter a job is."""
    if rule == "edit_tasks":
        return f" ({editor})"
    return f" ({rehearsal.draws} draw{'s' * (rehearsal.draws > 1)})" if rule == "trace_prompts" else ""


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The table for a terminal."""
    cells = [HEAD, *(tuple(str(row[column]) for column in COLUMNS) for row in rows)]
    return "\n".join(aligned(cells, 4))


if __name__ == "__main__":
    sys.exit(main())
