"""What a job asks of a cluster: memory, minutes and GPUs, more of the first two at each attempt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kn_thesis.plan.shape import DTYPE_BYTES, Shape
from kn_thesis.plan.work import Work

LIBRARIES_MB = 1500  # Python with torch and transformers: 0.7 GB were measured, a GPU's runtime adds as much
SPARE_MINUTES = 10  # to start, and to load a model from a slow disk
SPARE = 3  # times the estimated time: an estimate from sizes alone may be off by that, and a killed job costs most


@dataclass(frozen=True)
class Speed:
    """Floating-point operations a second that a job reaches in practice, on a core or on a GPU."""

    cpu: float
    gpu: float


def memory_mb(shape: Shape, dtype: str, batch_tokens: int, attempt: int = 1) -> int:
    """Main memory of a job that holds a model, in megabytes; doubled at each further attempt.

    The weights (on a GPU they pass through main memory, too), and a batch's activations and gradients in float32:
    states and neurons of a layer a few times over, and the scores of a part of the vocabulary.
    """
    weights = shape.parameters * DTYPE_BYTES[dtype]
    batch = batch_tokens * 4 * (8 * shape.hidden + 4 * shape.intermediate) + 1024 * shape.vocabulary * 4
    return _round_up((LIBRARIES_MB + (1.2 * weights + batch) / 1e6) * 2 ** (attempt - 1), 500)


def minutes(work: Work, shape: Shape, speed: float, attempt: int = 1) -> int:
    """Wall-clock time of a job, in minutes; doubled at each further attempt."""
    computed = work.flops(shape) / speed / 60
    return _round_up((SPARE_MINUTES + SPARE * computed) * 2 ** (attempt - 1), 5)


def table_memory_mb(rows: float, attempt: int = 1) -> int:
    """Main memory of a job that holds tables of that many rows, in megabytes: some copies of ten columns each."""
    return _round_up((1000 + rows * 10 * 8 * 4 / 1e6) * 2 ** (attempt - 1), 500)


def array_memory_mb(numbers: float, attempt: int = 1) -> int:
    """Main memory of a job that holds an array of so many float32 numbers, in megabytes: some copies of it."""
    return _round_up((1000 + numbers * 4 * 4 / 1e6) * 2 ** (attempt - 1), 500)


def _round_up(value: float, step: int) -> int:
    return int(math.ceil(value / step) * step)
