"""Rule summarise_tracing: what all models' traces say, in the tables that people open."""

from pathlib import Path

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.tracing.summary import Settings, summarise

with logged(snakemake.log[0], snakemake.input):
    asked = {name: snakemake.params[name] for name in ("tasks", "kinds", "families", "shown")}
    # No task may be traced at all.
    folder = next((Path(path).parents[1] for path in snakemake.input), Path())
    tables = summarise(folder, **asked, settings=Settings(**snakemake.params.settings))
    for name, path in snakemake.output.items():
        with whole_file(path) as temporary:
            getattr(tables, name).to_csv(temporary, index=False, float_format="%.6g")
