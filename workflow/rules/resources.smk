"""Resources of jobs on a cluster, from the plan of the study (kn_thesis/plan/study_plan.py); each attempt gets more."""

from functools import cache

from kn_thesis.plan.jobs import memory_mb, minutes
from kn_thesis.plan.study_plan import StudyPlan

PLAN = read_or_stop(StudyPlan, TASKS)


def limits(planned):
    """Return mem_mb and runtime for the job that `planned` returns for wildcards, computed on demand."""
    return {
        "mem_mb": lambda wildcards, attempt: memory_mb(planned(wildcards).peak_mb, attempt),
        "runtime": lambda wildcards, attempt: minutes(planned(wildcards).seconds, attempt),
    }


def batch_resources(step, gpu=True):
    """Return the resources of a rule whose wildcards name a batch, and an editor if it edits."""

    @cache
    def planned(model, batch, editor):
        editors = () if editor is None else (editor,)
        return getattr(PLAN, step)(TASKS.batch(step, model, batch, editor), *editors)

    def of_wildcards(wildcards):
        return read_or_stop(planned, wildcards.model, wildcards.batch, wildcards.get("editor"))

    return ({"gpu": lambda wildcards: PLAN.gpus(wildcards.model)} if gpu else {}) | limits(of_wildcards)


def wildcard_resources(job, *names, gpu=True):
    """Return the resources of a job whose model (and editor) are wildcards."""
    taken = limits(lambda wildcards: read_or_stop(job, *(getattr(wildcards, name) for name in names)))
    return ({"gpu": lambda wildcards: PLAN.gpus(wildcards.model)} if gpu else {}) | taken
