"""Rule summarise_suppression: all models' tests, the experiment on words' company, and the figures."""

import pandas as pd
import yaml

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.frames import read_words
from kn_thesis.models.learned import without_unlearned
from kn_thesis.report.style import save_figure, use_style
from kn_thesis.suppression.accuracy import with_published
from kn_thesis.suppression.company import corrected
from kn_thesis.suppression.figures import plot_company, plot_overturned, plot_variants, plot_words
from kn_thesis.suppression.summary import COLUMNS, gathered, shown_tests, significance_table
from kn_thesis.suppression.variants import variant_effects, variant_tests

with logged(snakemake.log[0], snakemake.input):
    source, out, params = snakemake.input, snakemake.output, snakemake.params
    tests, accuracy, slopes = (
        gathered(dict(zip(params.models, source.get(name, []), strict=True)), columns)
        for name, columns in COLUMNS.items()
    )
    company = gathered(dict(zip(params.worlds, source.get("company", ()), strict=True)))
    effects = variant_effects(without_unlearned(company, read_words(source.learned)), params.worlds)
    with open(source.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)
    tables = {
        "suppression": shown_tests(tests),
        "significance": significance_table(tests),
        "accuracy": with_published(accuracy, published["accuracy"], params.families),
        "company": corrected(slopes, ["model", "operation", "set", "words"]),
        "effects": effects,
        "variants": variant_tests(effects, params.confidence),
    }
    for name, table in tables.items():
        with whole_file(out[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
    # Figures say what the tables say. One model per family tells the story; the others differ in their world or their
    # seed, and have their own figure.
    written = {name: pd.read_csv(out[name]) for name in tables}
    shown = written["suppression"][written["suppression"]["model"].isin(params.shown)]
    use_style()
    save_figure(plot_words(shown), out.words_svg, out.words_png)
    save_figure(plot_company(shown, written["company"]), out.company_svg, out.company_png)
    save_figure(plot_overturned(written["accuracy"]), out.accuracy_svg, out.accuracy_png)
    save_figure(plot_variants(written["effects"], written["variants"]), out.variants_svg, out.variants_png)
