"""Rehearse the paper's study: random models of its shapes through the workflow's own rules, on a few real prompts.

    python scripts/tools/rehearse.py [--models gpt2 gpt2-xl ...] [--folder results/rehearsal] [--cores 2]

A rehearsal needs memory, and BLiMP and ParaRel (or a mirror, KN_MIRROR), but no weights. It makes each model at random
in the hub's format, and writes its study beside it with the paper's settings. The table has time and peak memory of
every job beside the estimates of `make plan`; it is printed and written to rehearsal.csv.
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

import _path  # noqa: F401
from kn_thesis.errors import UserError
from kn_thesis.files import write_csv
from kn_thesis.inputs import read_user_yaml
from kn_thesis.plan.table import align_columns
from make_random_model import make_model
from plan_study import read_plan

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "resources/studies/paper.yaml"
TASK = "distractor_agreement_relational_noun"  # all families take it, and a random model answers half of it correctly
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
    """A rehearsal of one model.

    Attributes:
        family: the model's family.
        identifier: its id on the hub.
        dtype: of its weights.
        prompts: how many each chapter has.
        draws: noise samples of tracing.
        chapters: chapters that are run.
    """

    family: str
    identifier: str
    dtype: str = "float32"
    prompts: int = 20
    draws: int = 1
    chapters: tuple[str, ...] = ("localization", "suppression", "tracing", "editing")


# The time of tracing is proportional to the noise samples: ten in the paper's study, fewer in a rehearsal on a CPU.
REHEARSALS = {
    "bert-base-cased": Rehearsal("bert", "google-bert/bert-base-cased", draws=1),
    "gpt2": Rehearsal("gpt2", "openai-community/gpt2", draws=2),
    "gpt2-xl": Rehearsal("gpt2", "openai-community/gpt2-xl", prompts=1),
    "llama-2-7b": Rehearsal(
        "llama", "meta-llama/Llama-2-7b-hf", "bfloat16", prompts=1, chapters=("localization", "tracing")
    ),
}


def main() -> int:
    """Rehearse, print the table and write it; return the exit status, 1 after a user's mistake or a failed job."""
    parser = argparse.ArgumentParser(description="Rehearse the paper's study.", allow_abbrev=False)
    parser.add_argument("--models", nargs="+", choices=REHEARSALS, default=list(REHEARSALS))
    parser.add_argument("--folder", type=Path, default=Path("results/rehearsal"), help="folder of all files")
    parser.add_argument("--cores", type=int, default=1, help="jobs at the same time")
    arguments = parser.parse_args()
    rows = []
    try:
        for name in arguments.models:
            rows += rehearse(name, REHEARSALS[name], arguments.folder, arguments.cores)
            write_csv(arguments.folder / "rehearsal.csv", COLUMNS, rows)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    print(f"The table: {(arguments.folder / 'rehearsal.csv').resolve()}")
    return 0


def rehearse(name: str, rehearsal: Rehearsal, folder: Path, cores: int) -> list[dict[str, Any]]:
    """Rehearse one model and return its rows of the table.

    Raises:
        UserError: its study fails.
    """
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    file = place / "study.yaml"
    study = study_of(name, rehearsal)
    # The workflow checks a model's folder before it runs; as long as there is none, the study names the hub's model.
    hub_study = study | {"models": {name: {"family": rehearsal.family, "hub": {"id": rehearsal.identifier}}}}
    file.write_text(yaml.safe_dump(hub_study, sort_keys=False), encoding="utf-8")
    pairs = f"results/corpora/fetched/paradigms/{TASK}.jsonl"
    run(name, place, [pairs], cores)
    if not (place / "model").exists():
        print(f"{name}: making a random model of {rehearsal.identifier}'s shape", flush=True)
        make_model(place / "model", rehearsal.identifier, rehearsal.dtype, place / pairs)
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    print(f"{name}: running; {place / 'run.log'} says how far it is", flush=True)
    run(name, place, targets(name, rehearsal), cores)
    return list(measured(name, rehearsal, place, read_plan(["--configfile", str(file)]).rows()))


def run(name: str, place: Path, files: Sequence[str], cores: int) -> None:
    """Make files with the workflow.

    Raises:
        UserError: it fails.
    """
    if not workflow_made(place, files, cores):
        raise UserError(f"{name}: the rehearsal failed; {place / 'run.log'} says why")


def workflow_made(place: Path, files: Sequence[str], cores: int, variables: Mapping[str, str] | None = None) -> bool:
    """Run the workflow on a folder's study.yaml, with its output in the folder's run.log.

    Args:
        place: the folder.
        files: the files to make.
        cores: jobs at the same time.
        variables: environment variables, added to those of this process.

    Returns:
        Whether it succeeded.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), *files]
    command += ["--directory", str(place), "--configfile", str(place / "study.yaml"), "--cores", str(cores)]
    with (place / "run.log").open("w", encoding="utf-8") as log:
        result = subprocess.run(  # noqa: S603 - Snakemake, on our files
            command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | (variables or {})
        )
    return result.returncode == 0


def study_of(name: str, rehearsal: Rehearsal) -> dict[str, Any]:
    """Return a study with the paper's settings, for one model and task, on few prompts."""
    paper = read_user_yaml(PAPER)
    few = rehearsal.prompts
    study = {key: paper[key] for key in ("seed", "corpora", "attribution", "suppression", "tracing", "editing")}
    editors = {key: paper["editing"]["editors"][key] for key in ("rome", "knowledge_neuron", "fine_tuning")}
    if name == "gpt2":  # a quarter as deep as gpt2-xl
        for key in ("rome", "fine_tuning"):
            editors[key] = editors[key] | {"families": {"gpt2": editors[key]["families"]["gpt2"] | {"layer": 4}}}
    return study | {
        "study": f"rehearsal-{name}",
        # A random model answers half of the pairs correctly; the others are neither traced nor edited.
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
    """Return the last files of the rehearsed chapters."""
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
    """Yield a row for each job with the model: Snakemake's measurement and the plan's estimate."""
    planned = {(job["rule"], job["place"]): job for job in jobs}
    for rule, chapter in CHAPTERS.items():
        folder = place / "results/benchmarks" / rule
        for file in sorted(folder.rglob("*.tsv")):
            with file.open(encoding="utf-8") as lines:
                took = next(csv.DictReader(lines, delimiter="\t"))
            job = planned[rule, str(file.relative_to(folder).with_suffix(""))]
            yield {
                "model": name,
                "dtype": rehearsal.dtype,
                "device": device(),
                "chapter": chapter + _part(rule, file.parent.name, rehearsal),
                "prompts": rehearsal.prompts,
                "seconds": f"{float(took['s']):.1f}",
                "peak_gb": f"{float(took['max_rss']) / 1024:.2f}",
                "planned_seconds": f"{job['seconds']:.1f}",
                "planned_gb": f"{job['peak_mb'] / 1024:.2f}",
            }


def device() -> str:
    """Return the device that models run on and that is planned for: "cuda" where there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _part(rule: str, editor: str, rehearsal: Rehearsal) -> str:
    """Return the part of its chapter that a job is, in words."""
    if rule == "edit_tasks":
        return f" ({editor})"
    return f" ({rehearsal.draws} draw{'s' * (rehearsal.draws > 1)})" if rule == "trace_prompts" else ""


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table for a terminal."""
    cells = [HEAD, *(tuple(str(row[column]) for column in COLUMNS) for row in rows)]
    return "\n".join(align_columns(cells, 4))


if __name__ == "__main__":
    sys.exit(main())
