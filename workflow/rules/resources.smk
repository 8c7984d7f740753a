"""Resources of jobs on a cluster, from the plan of the study (kn_thesis/plan/study_plan.py); each attempt gets more."""

from functools import cache

from kn_thesis.plan.jobs import memory_mb, minutes
from kn_thesis.plan.study_plan import StudyPlan

PLAN = read_or_stop(StudyPlan, TASKS)


def resources_of(job, *about, gpus=None):
    """Return mem_mb and runtime of a job, computed on demand, and `gpus` as its gpu unless it is None."""
    planned = cache(lambda: job(*about))
    memory = {"mem_mb": lambda wildcards, attempt: memory_mb(planned().peak_mb, attempt)}
    time = {"runtime": lambda wildcards, attempt: minutes(planned().seconds, attempt)}
    return ({} if gpus is None else {"gpu": gpus}) | memory | time


def batch_resources(job, batch, *about):
    """Return the resources of a job with a batch's model."""
    return resources_of(job, batch, *about, gpus=PLAN.gpus(batch.model))


def wildcard_resources(job, *names, gpu=True):
    """Return the resources of a job whose model (and editor) are wildcards."""

    def planned(wildcards):
        return job(*(getattr(wildcards, name) for name in names))

    memory = {"mem_mb": lambda wildcards, attempt: memory_mb(planned(wildcards).peak_mb, attempt)}
    time = {"runtime": lambda wildcards, attempt: minutes(planned(wildcards).seconds, attempt)}
    return ({"gpu": lambda wildcards: PLAN.gpus(wildcards.model)} if gpu else {}) | memory | time
