"""How long a job takes and how much memory; and what it asks of a cluster: more than that, and more at each attempt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kn_thesis.localization.room import HEAD_NUMBERS, budget_bytes
from kn_thesis.plan.shape import DTYPE_BYTES, Shape
from kn_thesis.plan.work import Work

LIBRARIES_MB = 500  # Python with torch and transformers, as measured
SPARE_MB = 1000  # asked for on top: a GPU's runtime has as much
SPARE_MINUTES = 10  # asked for on top: to start, and to load a model from a slow disk
SPARE = 3  # times the estimated time is asked for: a killed job costs most
START = 4.5  # seconds until a job with a model has imported its libraries
SMALL_START = 0.5  # the same for a job without
CALL = 2.5e-4  # seconds that a layer takes at least, there or back, however few tokens go through
LOADED = 1e9  # bytes of weights that are loaded in a second
WRITTEN = 1e8  # bytes of results in a second


@dataclass(frozen=True)
class Speed:
    """Floating-point operations a second that a job reaches in practice, on a core or on a GPU."""

    cpu: float
    gpu: float


def seconds(work: Work, shape: Shape, dtype: str, speed: float, stored: float = 0.0, start: float = START) -> float:
    """Wall-clock time of a job that does `work` with a model and writes `stored` bytes."""
    weights = shape.parameters * DTYPE_BYTES[dtype]
    return start + weights / LOADED + work.calls * CALL + work.flops(shape) / speed + stored / WRITTEN


def minutes(took: float, attempt: int = 1) -> int:
    """What a job that takes so many seconds asks for, in minutes; doubled at each further attempt."""
    return _round_up((SPARE_MINUTES + SPARE * took / 60) * 2 ** (attempt - 1), 5)


def peak_memory_mb(shape: Shape, dtype: str, batch: float, held: float = 0.0) -> float:
    """Main memory of a job that holds a model, in megabytes; with a GPU its memory, and the weights pass through both.

    The weights, `batch` bytes of activations and gradients, and `held` bytes of results.
    """
    weights = shape.parameters * DTYPE_BYTES[dtype]
    return LIBRARIES_MB + (1.2 * weights + batch + held) / 1e6


def batch_bytes(shape: Shape, batch_tokens: int) -> float:
    """A batch in float32: states and neurons of a layer a few times over, and scores of a part of the vocabulary."""
    return batch_tokens * 4 * (8 * shape.hidden + 4 * shape.intermediate) + 4 * HEAD_NUMBERS


def attribution_bytes(shape: Shape, dtype: str, batch_tokens: int) -> float:
    """The budget that attribution states."""
    sizes = (shape.hidden, shape.intermediate, shape.vocabulary)
    return budget_bytes(*sizes, batch_tokens, DTYPE_BYTES[dtype])


def table_memory_mb(rows: float) -> float:
    """Main memory of a job that holds tables of that many rows, in megabytes, as measured."""
    return 230 + rows * 40 / 1e6


def array_memory_mb(numbers: float) -> float:
    """Main memory of a job that holds an array of so many float32 numbers, in megabytes: some copies of it."""
    return 150 + numbers * 4 * 4 / 1e6


def memory_mb(peak: float, attempt: int = 1) -> int:
    """What a job whose memory peaks at so many megabytes asks for; doubled at each further attempt."""
    return _round_up((SPARE_MB + peak) * 2 ** (attempt - 1), 500)


def _round_up(value: float, step: int) -> int:
    return int(math.ceil(value / step) * step)
