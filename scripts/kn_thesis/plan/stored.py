"""Bytes of the files that each kind of job writes: what grows with a study.

Tables are compressed; their bytes per row, and per file whatever its rows, are means over the miniature's files.
"""

from __future__ import annotations

from kn_thesis.plan.shape import Shape

# Per file, and per row.
TABLES = {
    "prompts": (7000, 50),
    "evaluation": (5000, 22),
    "neurons": (6200, 19),
    "statistics": (11800, 0),
    "effects": (17000, 9.5),
    "controls": (8000, 14),
    "sets": (6500, 10),
    "words": (3600, 0),
    "tests": (18000, 110),
    "of_tests": (30000, 60),  # accuracy, company and slopes of one model
    "traced": (9000, 8),
    "trace": (4500, 5.5),
    "edits": (9000, 35),
    "questions": (10000, 46),
    "completions": (2700, 26),
    "layers": (3500, 11.4),
    "examples": (14800, 30),
}
SCORED = 50  # neurons that pass the coarse threshold in some prompt of a group
SENTENCE = 38  # bytes of a sentence of the world's text
WORLD_TASKS = 7.9e6  # bytes of a world's pairs and facts, and its counts
VOCABULARY = 60  # bytes of a token in a tokenizer's file
# Bytes that other rules write: files of the public corpora; figures, tables and pages.
OTHERS = {
    "fetch_corpus_file": 5e5,
    "fetch_patterns": 3e3,
    "fetch_facts": 8e4,
    "make_corpus_text": 2e6,
    "build_report": 2e7,
}


def table(name: str, rows: float) -> float:
    """One file of TABLES."""
    base, each = TABLES[name]
    return base + each * rows


def attribution(shape: Shape, prompts: float) -> float:
    """Scores of all neurons, and what is said of each layer and prompt, in float32."""
    return 600 + prompts * (4 * shape.layers * (shape.intermediate + 2) + 50)


def covariance(shape: Shape, layers: int) -> float:
    """A matrix for each layer, in float32."""
    return 4 * layers * shape.intermediate**2


def trained(shape: Shape) -> float:
    """Weights in float32, and the tokenizer."""
    return 4 * shape.parameters + VOCABULARY * shape.vocabulary
