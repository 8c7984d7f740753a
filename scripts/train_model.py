"""Rule train_model: train a tiny model of a real family on the text of its corpus."""

from pathlib import Path

from kn_thesis.corpora.prompts import Settings as PromptSettings
from kn_thesis.joblog import logged
from kn_thesis.models.train import Questions, Settings, train_into

with logged(snakemake.log[0], snakemake.input):
    params = snakemake.params
    questions = None
    if params.demands:
        files: dict[str, dict[str, str]] = {}
        for (task, part), file in zip(params.parts, snakemake.input.validation, strict=True):
            files.setdefault(task, {})[part] = file
        questions = Questions(files, PromptSettings(**params.prompts), params.demands)
    folder = Path(snakemake.output.model).parent
    train_into(folder, params.family, snakemake.input.text, Settings(**params.settings), questions)
