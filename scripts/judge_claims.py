"""Rule judge_claims: the verdict on each claim, per model and over models, by resources/claims.yaml."""

import yaml

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.frames import read_words
from kn_thesis.report.claims.judge import judge
from kn_thesis.report.claims.rules import read_rules

with logged(snakemake.log[0], snakemake.input):
    with open(snakemake.input.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)
    claims, parts = judge(
        read_rules(snakemake.input.rules),
        {name: read_words(snakemake.input[name]) for name in snakemake.params.tables},
        published,
        dict(snakemake.params.families),
        list(snakemake.params.together),
    )
    for output, rows in ((snakemake.output.claims, claims), (snakemake.output.parts, parts)):
        with whole_file(output) as path:
            rows.to_csv(path, index=False, float_format="%.6g")
