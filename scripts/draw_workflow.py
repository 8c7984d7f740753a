"""Rule draw_workflow: the picture of the workflow."""

import json
from pathlib import Path

from kn_thesis.errors import logged
from kn_thesis.report.style import save_figure, use_style
from kn_thesis.report.workflow_figure import plot_workflow

with logged(snakemake.log[0], snakemake.input):
    use_style()
    jobs = json.loads(Path(snakemake.input.jobs).read_text(encoding="utf-8"))
    save_figure(plot_workflow(jobs), snakemake.output.svg, snakemake.output.png)
