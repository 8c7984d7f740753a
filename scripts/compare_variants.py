"""Rule compare_variants: do effects follow when a word's company is changed and the model is trained anew?"""

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.frames import read_words
from kn_thesis.models.summary import without_unlearned
from kn_thesis.suppression.summary import gathered
from kn_thesis.suppression.variants import variant_effects, variant_tests

with logged(snakemake.log[0], snakemake.input):
    models = snakemake.params.models
    company = gathered(dict(zip(models, snakemake.input.company, strict=True)))
    effects = variant_effects(without_unlearned(company, read_words(snakemake.input.models)), models)
    tables = {"effects": effects, "table": variant_tests(effects, snakemake.params.confidence)}
    for name, table in tables.items():
        with whole_file(snakemake.output[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
