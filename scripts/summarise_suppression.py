"""Rule summarise_suppression: tabulate and plot all models' tests and the experiment on co-occurrence."""

import pandas as pd
import yaml

from kn_thesis.files import read_words, whole_file
from kn_thesis.joblog import logged
from kn_thesis.models.demands import drop_unlearned
from kn_thesis.report.style import save_figure, use_style
from kn_thesis.suppression.figures import plot_cooccurrence, plot_overturned, plot_variants, plot_words
from kn_thesis.suppression.regression import correct_slopes, variant_effects, variant_tests
from kn_thesis.suppression.statistics import add_published
from kn_thesis.suppression.summary import COLUMNS, gather_tables, shown_tests, significance_table

with logged(snakemake.log[0], snakemake.input):
    source, out, params = snakemake.input, snakemake.output, snakemake.params
    tests, accuracy, slopes = (
        gather_tables(dict(zip(params.models, source.get(name, []), strict=True)), columns)
        for name, columns in COLUMNS.items()
    )
    cooccurrence = gather_tables(dict(zip(params.worlds, source.get("cooccurrence", ()), strict=True)))
    effects = variant_effects(drop_unlearned(cooccurrence, read_words(source.learned)), params.worlds)
    with open(source.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)
    tables = {
        "suppression": shown_tests(tests),
        "significance": significance_table(tests),
        "accuracy": add_published(accuracy, published["accuracy"], params.families),
        "cooccurrence": correct_slopes(slopes, ["model", "operation", "set", "words"]),
        "effects": effects,
        "variants": variant_tests(effects, params.confidence),
    }
    for name, table in tables.items():
        with whole_file(out[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
    # Figures show the tables' values of one model per family. The others differ in their world or seed, and have a
    # figure of their own.
    written = {name: pd.read_csv(out[name]) for name in tables}
    shown = written["suppression"][written["suppression"]["model"].isin(params.shown)]
    use_style()
    save_figure(plot_words(shown), out.words_svg, out.words_png)
    save_figure(plot_cooccurrence(shown, written["cooccurrence"]), out.cooccurrence_svg, out.cooccurrence_png)
    save_figure(plot_overturned(written["accuracy"]), out.accuracy_svg, out.accuracy_png)
    save_figure(plot_variants(written["effects"], written["variants"]), out.variants_svg, out.variants_png)
