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


def resources_of(job, *about):
    """Return the limits of a job without a model in memory."""
    planned = cache(lambda: read_or_stop(job, *about))
    return limits(lambda wildcards: planned())


def batch_resources(job, batch, *about):
    """Return the resources of a job with a batch's model."""
    return {"gpu": PLAN.gpus(batch.model)} | resources_of(job, batch, *about)


def wildcard_resources(job, *names, gpu=True):
    """Return the resources of a job whose model (and editor) are wildcards."""
    taken = limits(lambda wildcards: read_or_stop(job, *(getattr(wildcards, name) for name in names)))
    return ({"gpu": lambda wildcards: PLAN.gpus(wildcards.model)} if gpu else {}) | taken
