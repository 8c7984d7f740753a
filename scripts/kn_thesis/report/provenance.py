"""Collect the provenance of a study: settings, checksums, models, software, machine, commit, and times of the jobs.

`provenance_facts` returns what provenance.json holds and the provenance page shows. The other functions, in the order
of the page, each provide one part of it. None of them reveals names of people, hosts or folders.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import os
import platform
import re
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.inputs import without_login

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("snakemake", "torch", "transformers", "datasets", "tokenizers", "pandas", "numpy", "scipy", "statsmodels")
UNVERSIONED = "not under version control"
MACHINE_PATH = re.compile(r"^(/|~|\\|file:|[A-Za-z]:[\\/])")
HIDDEN = "(a folder of that machine)"
BENCHMARKS = Path("results/benchmarks")
WILDCARD = re.compile(r"\{(\w+)[^}]*\}")
COLUMNS = ["rule", "chapter", "jobs", "total_s", "longest_s", "memory_MiB"]


def provenance_facts(
    study: Mapping[str, Any],
    root: Path,
    *,
    timed: Sequence[Mapping[str, Any]],
    models: Mapping[str, str],
    texts: Sequence[str],
    resources: Sequence[str],
    manifest: str,
    fetched: Sequence[Sequence[str]],
    results: Path = Path(),
) -> dict[str, Any]:
    """Collect all facts of a study's provenance.

    Args:
        study: the whole configuration.
        root: the project's folder.
        timed: the rules that keep timings, from `timed_rules`.
        models: path of each model's model.json, by the model's name.
        texts: files that the workflow wrote for training.
        resources: files that people wrote and the workflow reads.
        manifest: the file that pins the public corpora.
        fetched: corpus and path of each pinned file in use.
        results: folder that holds results/ with the timings.

    Returns:
        Values that JSON can hold; None stands for what is unknown.
    """
    settings = dict(flatten_settings(study))
    records = {name: json.loads(Path(file).read_text(encoding="utf-8")) for name, file in models.items()}
    timings = summarise_benchmarks(timed, results)
    return {
        "study": study["study"],
        "project": project(root),
        "configuration": settings,
        "seeds": seeds(settings),
        "fetched": fetched_checksums(manifest, fetched),
        "texts": checksums(texts, results),
        "resources": checksums(resources, root),
        "models": {name: model_facts(record, Path(models[name]).parent) for name, record in records.items()},
        "packages": versions(),
        "machine": machine(),
        # JSON has no nan: memory that nobody measured becomes null.
        "timings": timings.astype(object).where(timings.notna(), None).to_dict("records"),
    }


# The commit


def project(folder: str | Path) -> dict[str, Any]:
    """Find the commit of the project in a folder.

    Args:
        folder: the project's folder.

    Returns:
        "commit"; "changed", the number of files changed since; "added", the number of files that are not in it. All
        are None without git, or when the folder does not belong to a repository of its own.
    """
    unknown = {"commit": None, "changed": None, "added": None}
    if _git(folder, "ls-files", "--error-unmatch", "workflow/Snakefile") is None:
        return unknown
    commit, state = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--", ".")
    if commit is None or state is None:
        return unknown
    lines = state.splitlines()
    added = sum(line.startswith("??") for line in lines)
    return {"commit": commit.strip(), "changed": len(lines) - added, "added": added}


def say_project(facts: Mapping[str, Any]) -> str:
    """Name the commit, and say whether the files that ran are those of the commit; `facts` is from `project`."""
    if facts["commit"] is None:
        return UNVERSIONED
    parts = [(facts["changed"], "changed"), (facts["added"], "not in it")]
    differing = ", ".join(f"{number} file{'s' * (number != 1)} {what}" for number, what in parts if number)
    return f"{facts['commit']} ({differing or 'the files are those of the commit'})"


def _git(folder: str | Path, *arguments: str) -> str | None:
    """The output of git, or None when it fails. It takes no lock and looks only at the folder's own repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        command = ["git", "-C", str(folder), *arguments]  # whichever git the user has
        done = subprocess.run(  # noqa: S603 - fixed commands
            command, capture_output=True, text=True, env=environment, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


# Settings


def flatten_settings(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Flatten the configuration so that it can be published.

    Absolute paths, and names and passwords in addresses, are hidden: they reveal the user and do not affect results.

    Args:
        value: the configuration, or a part of it.
        prefix: the keys that lead to this part.

    Returns:
        Keys joined by dots with their values (numbers, texts, lists), in the configuration's order.
    """
    if isinstance(value, Mapping) and value:
        return [
            row
            for key, inner in value.items()
            for row in flatten_settings(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, Mapping):
        return [(prefix, [])] if prefix else []
    return [(prefix, _public(value))]


def seeds(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Select the entries of a flat configuration whose last key ends in `seed`."""
    return {key: value for key, value in settings.items() if key.rsplit(".", 1)[-1].endswith("seed")}


def setting_text(value: Any) -> str:
    """Write a value as the page shows it: lists with commas, "" for a setting that is not set."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _public(value: Any) -> Any:
    if isinstance(value, str):
        return HIDDEN if MACHINE_PATH.match(value) else without_login(value)
    return [_public(inner) for inner in value] if isinstance(value, list | tuple) else value


# Data


def fetched_checksums(manifest: str | Path, files: Iterable[Sequence[str]]) -> list[dict[str, Any]]:
    """Look up what the manifest pins of fetched files.

    Args:
        manifest: the YAML file that pins the public corpora.
        files: corpus and path of each file.

    Returns:
        Corpus, file, licence, bytes, sha256 and public address (url) of each.

    Raises:
        KeyError: a file is not pinned.
    """
    import yaml

    content = yaml.safe_load(Path(manifest).read_text(encoding="utf-8"))
    rows = []
    for corpus, path in files:
        section = content[corpus]
        row = {"corpus": corpus, "file": path, "licence": section["licence"]}
        rows.append(row | dict(section["files"][path]) | {"url": section["root"] + path})
    return rows


def checksums(files: Iterable[str | Path], folder: str | Path) -> list[dict[str, Any]]:
    """Compute the checksums of files.

    Args:
        files: the files.
        folder: the folder that their names are relative to.

    Returns:
        "file", "bytes" and "sha256" of each, sorted by name.
    """
    named = [(_name(file, folder), Path(file)) for file in files]
    return [{"file": name, "bytes": file.stat().st_size, "sha256": checksum(file)} for name, file in sorted(named)]


def checksum(file: str | Path) -> str:
    """Compute the sha256 of a file's bytes."""
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _name(file: str | Path, folder: str | Path) -> str:
    """A file's path relative to a folder above it, whether or not there are links on the way; else its bare name."""
    for plain in (os.path.abspath, os.path.realpath):
        path, root = Path(plain(file)), Path(plain(folder))
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return Path(file).name


# Models


def model_facts(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Describe one model.

    The checksum is taken where the weights lie: in `folder` for a model trained here, in its own folder for a model
    configured by path. It is the sha256 of model.safetensors or, for several shards, of the lines `checksum  name`.

    Args:
        record: the model's model.json.
        folder: the folder of that file.

    Returns:
        family, source, hub_id, revision, weights_sha256 and parameters (their number). None stands for what is
        unknown, such as the checksum of a model of the hub, which its revision identifies.
    """
    source = record["source"]
    places = {"train": folder, "path": Path(record["location"])}
    shards = sorted(places[source].glob("*.safetensors")) if source in places else []
    return {
        "family": record["family"],
        "source": source,
        "hub_id": record["location"] if source == "hub" else None,
        "revision": record["revision"],
        "weights_sha256": _weights_checksum(shards),
        "parameters": _parameters(folder / "training.json", shards),
    }


def _weights_checksum(shards: Sequence[Path]) -> str | None:
    if len(shards) < 2:
        return checksum(shards[0]) if shards else None
    lines = "".join(f"{checksum(shard)}  {shard.name}\n" for shard in shards)
    return hashlib.sha256(lines.encode()).hexdigest()


def _parameters(training: Path, shards: Sequence[Path]) -> int | None:
    """The number of parameters: as training counted them, else as the weight files hold them."""
    if training.is_file():
        return json.loads(training.read_text(encoding="utf-8")).get("parameters")
    return sum(map(_numbers, shards)) if shards else None


def _numbers(weights: Path) -> int:
    """Count the numbers in a safetensors file: its first 8 bytes hold the header's length, the header all shapes."""
    with weights.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        header = json.loads(content.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


# Software and machine


def versions() -> dict[str, str]:
    """Look up the version of each of `PACKAGES` that is installed where the report is built."""
    installed = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def machine() -> dict[str, Any]:
    """Describe the machine: version of Python, system, processor, number of CPUs."""
    system = platform.system()
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release().get("PRETTY_NAME", system)
    return {
        "python": platform.python_version(),
        "system": system,
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
    }


# Time and memory


def timed_rules(
    rules: Iterable[Any],
    values: Mapping[str, Sequence[str]],
    jobs: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
    without: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """List the rules that keep timings; they are named after the folder of their timings.

    Args:
        rules: Snakemake's own; the name of the file with the rule and the pattern of its benchmark file are read.
        values: what a wildcard stands for, by name; a wildcard that is missing here stands for anything.
        jobs: the wildcards of each job, for rules where not every combination of values is a job.
        without: names to leave out.

    Returns:
        A dictionary per name, sorted by name: "name"; "chapter", the stem of the file with the rule; "benchmarks", the
        benchmark files as patterns that `Path.glob` takes, sorted.
    """
    timed: dict[str, dict[str, Any]] = {}
    for rule in rules:
        pattern = str(rule.benchmark or "")
        name = _common_name(pattern)
        if name and name not in without:
            entry = timed.setdefault(name, {"name": name, "chapter": Path(rule.snakefile).stem, "benchmarks": []})
            if name in (jobs or {}):
                entry["benchmarks"] += [
                    WILDCARD.sub(lambda match, job=job: job[match[1]], pattern) for job in jobs[name]
                ]
            else:
                entry["benchmarks"] += _expand(pattern, values)
    for entry in timed.values():
        entry["benchmarks"].sort()
    return [timed[name] for name in sorted(timed)]


def _common_name(benchmark: str) -> str | None:
    """First folder of a benchmark file below results/benchmarks, or that file's stem; None for no file."""
    return Path(benchmark).relative_to(BENCHMARKS).parts[0].removesuffix(".tsv") if benchmark else None


def _expand(pattern: str, values: Mapping[str, Sequence[str]]) -> list[str]:
    """The pattern once for each combination of its wildcards' values."""
    match = WILDCARD.search(pattern)
    if match is None:
        return [pattern]
    expanded = [pattern.replace(match[0], value) for value in values.get(match[1], ["*"])]
    return [file for one in expanded for file in _expand(one, values)]


def summarise_benchmarks(rules: Iterable[Mapping[str, Any]], folder: Path) -> pd.DataFrame:
    """Add up wall time and memory by rule.

    Args:
        rules: from `timed_rules`.
        folder: the folder that the patterns of benchmark files are relative to.

    Returns:
        A row per rule with a timing, longest total first: rule, chapter, jobs (those with a timing), total_s and
        longest_s (wall time in seconds), memory_MiB (the maximum; nan if unknown).
    """
    import pandas as pd  # late: the workflow imports this module whenever it is parsed

    rows = []
    for rule in rules:
        files = {file for pattern in rule["benchmarks"] for file in folder.glob(pattern)}
        jobs = [job for file in sorted(files) if (job := read_benchmark(file))]
        if jobs:
            times = [time for time, _ in jobs]
            memory = [size for _, size in jobs if not math.isnan(size)]
            row = (len(jobs), round(math.fsum(times), 2), max(times), max(memory, default=math.nan))
            rows.append((rule["name"], rule["chapter"], *row))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["total_s", "rule"], ascending=[False, True], kind="stable", ignore_index=True)


def read_benchmark(file: str | Path) -> tuple[float, float] | None:
    """Read the benchmark file of one job.

    Args:
        file: the file that Snakemake wrote, with one line for each time that the job was measured.

    Returns:
        Wall time (s; the sum) and resident memory (MiB; the maximum), or None when the file is missing or holds no
        time. Memory is nan where Snakemake could not measure it: it then writes `-`, `NA` or, for very short jobs, 0.
    """
    try:
        with Path(file).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    times = [_number(row.get("s")) for row in rows]
    memory = [size for size in (_number(row.get("max_rss")) for row in rows) if size > 0]
    if not times or not all(time >= 0 for time in times):
        return None
    return math.fsum(times), max(memory, default=math.nan)


def _number(text: Any) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan
