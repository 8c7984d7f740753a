"""Rule plot_editing: criteria that edits meet, agreement edits, the layer that is edited, and what training stated."""

from kn_thesis.editing.figures import plot_agreement, plot_criteria, plot_directions, plot_layers
from kn_thesis.editing.rows import without_one_way
from kn_thesis.errors import logged
from kn_thesis.frames import read_words
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    tables = {name: read_words(path) for name, path in snakemake.input.items()}
    shown, out = list(snakemake.params.shown), snakemake.output
    edited = without_one_way(tables["editing"], tables["directions"])
    use_style()
    save_figure(plot_criteria(edited, shown), out.criteria_svg, out.criteria_png)
    save_figure(plot_agreement(edited, shown), out.agreement_svg, out.agreement_png)
    save_figure(plot_layers(tables["layers"], shown), out.layers_svg, out.layers_png)
    save_figure(plot_directions(tables["directions"]), out.directions_svg, out.directions_png)
