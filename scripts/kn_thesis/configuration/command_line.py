"""Values that came by --config: Snakemake hands on texts where they are nested, and the schema says what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from kn_thesis.configuration.schema import Study
from kn_thesis.errors import UserError
from kn_thesis.given_yaml import yaml_content

Node = Mapping[str, Any]  # of a JSON schema
# What YAML may read a text as, and the schema's name of it.
KINDS = {bool: ("boolean",), int: ("integer", "number"), float: ("number",), type(None): ("null",)}


def as_the_schema_has_it(given: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration from the command line with numbers, truth values and nothing where the schema wants them.

    A text is read as YAML, and what comes out is taken where its type is allowed at that place. All else stays as it
    is: where the schema wants a text, it has one.
    """
    return {key: _typed(value, list(schema_at((key,)))) for key, value in given.items()}


def schema_at(key: tuple[str | int, ...]) -> Iterator[Node]:
    """All that the schema allows at a key: nodes without references or choices. None for an unknown key."""
    nodes = list(_choices(_schema()))
    for part in key:
        nodes = [choice for node in nodes for choice in _below(node, part)]
    yield from nodes


@cache
def _schema() -> Node:
    return Study.model_json_schema()


def _typed(value: Any, nodes: list[Node]) -> Any:
    if isinstance(value, Mapping):
        return {name: _typed(entry, [c for node in nodes for c in _below(node, name)]) for name, entry in value.items()}
    if isinstance(value, list):
        return [_typed(entry, [c for node in nodes for c in _below(node, place)]) for place, entry in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        meant = yaml_content(value, "--config")
    except UserError:
        return value
    allowed = {node.get("type") for node in nodes}
    return meant if allowed.intersection(KINDS.get(type(meant), ())) else value


def _below(node: Node, part: str | int) -> Iterator[Node]:
    """What a node allows for one of its entries."""
    if isinstance(part, int):
        first = node.get("prefixItems", [])
        inner = first[part] if part < len(first) else node.get("items")
    else:
        patterns = list(node.get("patternProperties", {}).values())
        inner = node.get("properties", {}).get(part) or next(iter(patterns), None) or node.get("additionalProperties")
    if isinstance(inner, Mapping):
        yield from _choices(inner)


def _choices(node: Node) -> Iterator[Node]:
    """The node, or what it refers to or lets choose from."""
    if "$ref" in node:
        yield from _choices(_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]])
    options = [option for kind in ("anyOf", "oneOf", "allOf") for option in node.get(kind, [])]
    for option in options:
        yield from _choices(option)
    if "$ref" not in node and not options:
        yield node
