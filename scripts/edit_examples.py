"""Rule edit_examples: make the study's example edits in one model with each of its editors."""

from kn_thesis.editing.editors import configured_editor
from kn_thesis.editing.example_task import edit_examples
from kn_thesis.editing.examples import read_examples
from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    settings = snakemake.params.settings
    examples = read_examples(snakemake.input.examples)
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    limits = settings["seed"], settings["batch_tokens"]
    editors = {
        name: configured_editor(model, editor, snakemake.params.covariances[name], *limits)
        for name, editor in snakemake.params.editors.items()
    }
    table = edit_examples(model, examples, editors, settings["tokens"], settings["batch_tokens"])
    for row in table.itertuples():
        print(f"{row.editor}, {row.example}: {row.prompt} … {row.before!r} → {row.after!r}; {row.status}")
    with whole_file(snakemake.output.table) as path:
        table.to_parquet(path, index=False, compression="zstd")
