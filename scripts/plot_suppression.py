"""Rule plot_suppression: words under suppression, their company, predictions overturned, words in other worlds."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.report.style import save_figure, use_style
from kn_thesis.suppression.figures import plot_company, plot_overturned, plot_variants, plot_words

with logged(snakemake.log[0], snakemake.input):
    tables = {name: pd.read_csv(path) for name, path in snakemake.input.items()}
    tests, out = tables["suppression"], snakemake.output
    # One model per family tells the story; the others differ in their world or their seed, and have their own figure.
    shown = [model for model in snakemake.params.shown if model in set(tests["model"])]
    tests = tests[tests["model"].isin(shown)]
    use_style()
    save_figure(plot_words(tests), out.words_svg, out.words_png)
    save_figure(plot_company(tests, tables["company"]), out.company_svg, out.company_png)
    save_figure(plot_overturned(tables["accuracy"]), out.accuracy_svg, out.accuracy_png)
    save_figure(plot_variants(tables["effects"], tables["variants"]), out.variants_svg, out.variants_png)
