"""Rule summarise_localization: how local every task is in every model, and in which layers its neurons lie."""

import pandas as pd
import yaml

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.localization.layers import layer_table, layers_by_task
from kn_thesis.localization.likeness import number_neurons
from kn_thesis.localization.published import with_published

with logged(snakemake.log[0], snakemake.input):
    table = pd.concat([pd.read_parquet(path) for path in snakemake.input.statistics], ignore_index=True)
    table.insert(1, "family", table["model"].map(dict(snakemake.params.families)))
    with open(snakemake.input.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)
    with whole_file(snakemake.output.table) as path:
        with_published(table, published["localization"]).to_csv(path, index=False, float_format="%.6g")
    found = [pd.read_parquet(path) for path in snakemake.input.neurons]
    neurons = pd.concat([rows for rows in found if len(rows)] or found[:1], ignore_index=True)
    kinds = dict(zip(table["task"], table["kind"], strict=True))
    depths = dict(zip(table["model"], table["layers"], strict=True))
    for output, rows in (
        (snakemake.output.layers, layer_table(neurons, kinds, depths)),
        (snakemake.output.layers_by_task, layers_by_task(neurons, kinds, depths)),
        (snakemake.output.number_neurons, number_neurons(neurons)),
    ):
        with whole_file(output) as path:
            rows.to_csv(path, index=False, float_format="%.6g")
