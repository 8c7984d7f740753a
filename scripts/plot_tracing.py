"""Rule plot_tracing: single prompts traced, averages by token role, both sites over layers, the sites' contrasts."""

from kn_thesis.errors import logged
from kn_thesis.frames import read_words
from kn_thesis.report.style import save_figure, use_style
from kn_thesis.tracing.figures import plot_lines, plot_sites
from kn_thesis.tracing.heatmaps import plot_examples, plot_roles

with logged(snakemake.log[0], snakemake.input):
    tables = {name: read_words(path) for name, path in snakemake.input.items()}
    shown, out = list(snakemake.params.shown), snakemake.output
    use_style()
    save_figure(plot_examples(tables["examples"], shown), out.examples_svg, out.examples_png)
    save_figure(plot_roles(tables["roles"], shown), out.roles_svg, out.roles_png)
    save_figure(plot_lines(tables["roles"], shown), out.lines_svg, out.lines_png)
    save_figure(plot_sites(tables["tracing"], shown), out.sites_svg, out.sites_png)
