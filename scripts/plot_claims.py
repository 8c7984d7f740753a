"""Rule plot_claims: all verdicts at once, and one picture per claim."""

from kn_thesis.errors import logged
from kn_thesis.frames import read_words
from kn_thesis.report.claims.figures import plot_claim, plot_claims
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    use_style()
    models = list(snakemake.params.shown)
    claims, parts = read_words(snakemake.input.claims), read_words(snakemake.input.parts)
    save_figure(plot_claims(claims, models), snakemake.output.all_svg, snakemake.output.all_png)
    for number in snakemake.params.numbers:
        figure = plot_claim(parts[parts["claim"] == number], models)
        save_figure(figure, snakemake.output[f"claim_{number}_svg"], snakemake.output[f"claim_{number}_png"])
