"""Rule summarise_suppression: all models' tests in the tables that people open."""

import yaml

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.suppression.accuracy import with_published
from kn_thesis.suppression.company import corrected
from kn_thesis.suppression.summary import COLUMNS, gathered, shown_tests, significance_table

with logged(snakemake.log[0], snakemake.input):
    models, source = list(snakemake.params.models), snakemake.input
    tests, accuracy, slopes = (
        gathered(dict(zip(models, source.get(name, []), strict=True)), columns) for name, columns in COLUMNS.items()
    )
    with open(source.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)
    tables = {
        "suppression": shown_tests(tests),
        "significance": significance_table(tests),
        "accuracy": with_published(accuracy, published["accuracy"], snakemake.params.families),
        "company": corrected(slopes, ["model", "operation", "set", "words"]),
    }
    for name, table in tables.items():
        with whole_file(snakemake.output[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
