"""All facts of a study's provenance in one place: what provenance.json holds and the page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kn_thesis.report.benchmarks import summarise_benchmarks
from kn_thesis.report.settings import flat, seeds
from kn_thesis.report.sums import fetched_sums, file_sums, model_facts
from kn_thesis.report.surroundings import machine, project, versions


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
    """Facts as values that JSON knows; None for what is not known.

    `study` is the whole configuration, `root` the project's folder, `timed` the rules that keep timings
    (`report.timed.timed_rules`), `models` the model.json of each model, `manifest` and `fetched` the pinned public
    files and those of them in use (corpus and path). `results` is the folder that holds results/ with the timings.
    """
    settings = dict(flat(study))
    records = {name: json.loads(Path(file).read_text(encoding="utf-8")) for name, file in models.items()}
    timings = summarise_benchmarks(timed, results)
    return {
        "study": study["study"],
        "project": project(root),
        "configuration": settings,
        "seeds": seeds(settings),
        "fetched": fetched_sums(manifest, fetched),
        "texts": file_sums(texts, results),
        "resources": file_sums(resources, root),
        "models": {name: model_facts(record, Path(models[name]).parent) for name, record in records.items()},
        "packages": versions(),
        "machine": machine(),
        # JSON has no nan, and memory that nobody measured is no number.
        "timings": timings.astype(object).where(timings.notna(), None).to_dict("records"),
    }
