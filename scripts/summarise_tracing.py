"""Rule summarise_tracing: tabulate and plot the traces of all models."""

from kn_thesis.files import by_folder, read_words, whole_file
from kn_thesis.joblog import logged
from kn_thesis.report.style import save_figure, use_style
from kn_thesis.tracing.figures import plot_lines, plot_sites
from kn_thesis.tracing.heatmaps import plot_examples, plot_roles
from kn_thesis.tracing.summary import Settings, summarise

with logged(snakemake.log[0], snakemake.input):
    about = {name: snakemake.params[name] for name in ("tasks", "kinds", "families", "shown")}
    files = by_folder(dict(snakemake.input.items()))
    tables, out = summarise(files, **about, settings=Settings(**snakemake.params.settings)), snakemake.output
    for name, table in vars(tables).items():
        with whole_file(out[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
    drawn = list(snakemake.params.drawn)
    use_style()
    save_figure(plot_examples(read_words(out.examples), drawn), out.examples_svg, out.examples_png)
    save_figure(plot_roles(read_words(out.roles), drawn), out.roles_svg, out.roles_png)
    save_figure(plot_lines(read_words(out.roles), drawn), out.lines_svg, out.lines_png)
    save_figure(plot_sites(read_words(out.tracing), drawn), out.sites_svg, out.sites_png)
