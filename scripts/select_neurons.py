"""Rule select_neurons: select the knowledge neurons of each group of prompts, and measure how local each task is."""

from kn_thesis.files import read_tasks, write_task_tables
from kn_thesis.joblog import logged
from kn_thesis.localization.statistics import say_residuals, select_in_task
from kn_thesis.localization.tables import load_shards

with logged(snakemake.log[0], snakemake.input):
    settings, columns = dict(snakemake.params.settings), ["prompt", "group", "number"]
    tables = {"neurons": {}, "statistics": {}}
    for task, prompts in read_tasks(snakemake.input.prompts, snakemake.params.kinds, columns).items():
        attribution, names = load_shards(snakemake.input.attributions, task)
        about = {"model": snakemake.wildcards.model, "task": task}
        kind = snakemake.params.kinds[task]
        neurons, statistics = select_in_task(attribution, names, prompts, about, settings, kind)
        for line in say_residuals(statistics):
            print(line)
        tables["neurons"][task], tables["statistics"][task] = neurons, statistics
    for name, by_task in tables.items():
        write_task_tables(by_task, snakemake.output[name])
