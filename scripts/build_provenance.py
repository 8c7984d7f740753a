"""Rule build_provenance: write settings, versions, checksums and timings as a page and as JSON."""

import json
from pathlib import Path

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.report.pages import Chapter, page
from kn_thesis.report.provenance import provenance_facts
from kn_thesis.report.provenance_page import provenance_html

with logged(snakemake.log[0], snakemake.input):
    study = snakemake.params.study
    facts = provenance_facts(
        study,
        Path(__file__).resolve().parents[1],
        timed=snakemake.params.timed,
        models=dict(zip(study["models"], snakemake.input.models, strict=True)),
        texts=snakemake.input.texts,
        resources=snakemake.input.resources,
        manifest=snakemake.input.manifest,
        fetched=snakemake.params.fetched,
    )
    with whole_file(snakemake.output.facts) as path:
        path.write_text(json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    chapters = [Chapter(**chapter) for chapter in snakemake.params.chapters]
    body = provenance_html(facts)
    html = page(Path(snakemake.input.template), chapters, "provenance", study["study"], body)
    with whole_file(snakemake.output.page) as path:
        path.write_text(html, encoding="utf-8")
