"""Which tests are quick: whatever they and their fixtures call in tests/, it starts no process and trains no model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

# Names in code. Snakemake, SLURM and the browser are processes.
SLOW = {"subprocess", "multiprocessing", "train_model", "train_into"}
TESTS = str(Path(__file__).parents[1])


def is_quick(item: pytest.Function) -> bool:
    """Whether a test is quick, by its code alone."""
    fixtures = [definitions[-1].func for definitions in item._fixtureinfo.name2fixturedefs.values()]
    return not any(_names(function) & SLOW for start in (item.function, *fixtures) for function in _reached(start))


@cache
def _reached(start: Callable[..., Any]) -> frozenset[FunctionType]:
    """The function itself and all functions in tests/ that it may call, itself or through others."""
    found: set[FunctionType] = set()
    rest: list[Any] = [start]
    while rest:
        for function in _functions(rest.pop()):
            if function not in found:
                found.add(function)
                rest += _named(function)
    return frozenset(found)


def _functions(value: Any) -> Iterator[FunctionType]:
    """A function in tests/ without its decorators, or the methods of a class there."""
    if inspect.isclass(value) and value.__module__.startswith("tests."):
        for part in vars(value).values():
            yield from _functions(part)
    elif callable(value) and not inspect.isclass(value):
        test = getattr(getattr(value, "hypothesis", None), "inner_test", value)
        function = inspect.unwrap(test)
        if isinstance(function, FunctionType) and function.__code__.co_filename.startswith(TESTS):
            yield function


def _named(function: FunctionType) -> Iterator[Any]:
    """What a function names: globals, and what it takes of a module."""
    names = _names(function)
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        yield value
        if isinstance(value, ModuleType) and (getattr(value, "__file__", None) or "").startswith(TESTS):
            yield from (vars(value)[part] for part in names & vars(value).keys())


def _names(function: FunctionType) -> set[str]:
    rest, found = [function.__code__], set()
    while rest:
        code = rest.pop()
        found |= {*code.co_names}
        rest += [part for part in code.co_consts if isinstance(part, CodeType)]
    return found
