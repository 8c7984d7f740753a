"""Rule judge_claims: judge each claim of resources/claims.yaml per model and over models, and draw the figures."""

import yaml

from kn_thesis.files import read_words, whole_file
from kn_thesis.joblog import logged
from kn_thesis.report.claims.figures import plot_claim, plot_claims
from kn_thesis.report.claims.judge import judge
from kn_thesis.report.claims.rules import read_rules
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    out, models = snakemake.output, list(snakemake.params.together)
    with open(snakemake.input.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)
    claims, parts = judge(
        read_rules(snakemake.input.rules),
        {name: read_words(snakemake.input[name]) for name in snakemake.params.tables},
        published,
        dict(snakemake.params.families),
        models,
        dict(snakemake.params.inverses),
    )
    for output, rows in ((out.claims, claims), (out.parts, parts)):
        with whole_file(output) as path:
            rows.to_csv(path, index=False, float_format="%.6g")
    claims, parts = read_words(out.claims), read_words(out.parts)
    use_style()
    save_figure(plot_claims(claims, models), out.all_svg, out.all_png)
    for number in snakemake.params.numbers:
        figure = plot_claim(parts[parts["claim"] == number], models)
        save_figure(figure, out[f"claim_{number}_svg"], out[f"claim_{number}_png"])
