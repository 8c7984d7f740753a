"""Read configuration files strictly, and convert values of --config to the types that the schema requires.

Snakemake accepts some files that are refused here, and passes nested values of --config as texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kn_thesis.configuration.schema import Study
from kn_thesis.errors import UserError
from kn_thesis.inputs import parse_json, parse_yaml, read_user_text

Node = Mapping[str, Any]  # node of a JSON schema
# Types that YAML may read a text as, and their names in the schema.
KINDS = {bool: ("boolean",), int: ("integer", "number"), float: ("number",), type(None): ("null",)}


def read_layer(path: str | Path) -> Mapping[str, Any]:
    """Read a configuration file in JSON or YAML.

    Args:
        path: File to read; JSON if its suffix is .json.

    Raises:
        UserError: The file cannot be read (see `kn_thesis.inputs.parse_yaml`), has no keys at its top level, or is a
            template: code in a configuration is not run.
    """
    text = read_user_text(path)
    try:
        content = parse_json(text) if Path(path).suffix == ".json" else parse_yaml(text, path)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): correct it") from None
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: must have `key: value` entries at its top level")
    if "__use_yte__" in content:
        raise UserError(f"{path}: __use_yte__: templates are not read: write out the values")
    return content


def with_schema_types(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert texts from the command line to numbers, booleans and null where the schema allows these.

    A text is parsed as YAML, and the result is used if the schema allows its type at that key. Everything else is
    unchanged, so a text stays a text where the schema requires one.

    Args:
        values: Values of --config.
    """
    return {key: _typed(value, list(schema_at((key,)))) for key, value in values.items()}


def schema_at(key: tuple[str | int, ...]) -> Iterator[Node]:
    """Yield what the schema allows at a key.

    Args:
        key: Path of keys and indices.

    Yields:
        Nodes of the JSON schema without references and alternatives; nothing for an unknown key.
    """
    nodes = list(_choices(_schema()))
    for part in key:
        nodes = [choice for node in nodes for choice in _below(node, part)]
    yield from nodes


def _typed(value: Any, nodes: list[Node]) -> Any:
    """Convert a value whose place in the schema has these nodes."""
    if isinstance(value, Mapping):
        return {name: _typed(entry, [c for node in nodes for c in _below(node, name)]) for name, entry in value.items()}
    if isinstance(value, list):
        return [_typed(entry, [c for node in nodes for c in _below(node, place)]) for place, entry in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        parsed = parse_yaml(value, "--config")
    except UserError:
        return value
    allowed = {node.get("type") for node in nodes}
    return parsed if allowed.intersection(KINDS.get(type(parsed), ())) else value


def _below(node: Node, part: str | int) -> Iterator[Node]:
    """Yield what a node allows for one of its entries."""
    if isinstance(part, int):
        first = node.get("prefixItems", [])
        inner = first[part] if part < len(first) else node.get("items")
    else:
        patterns = list(node.get("patternProperties", {}).values())
        inner = node.get("properties", {}).get(part) or next(iter(patterns), None) or node.get("additionalProperties")
    if isinstance(inner, Mapping):
        yield from _choices(inner)


def _choices(node: Node) -> Iterator[Node]:
    """Yield a node, or the nodes that it refers to or offers as alternatives."""
    if "$ref" in node:
        yield from _choices(_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]])
    options = [option for kind in ("anyOf", "oneOf", "allOf") for option in node.get(kind, [])]
    for option in options:
        yield from _choices(option)
    if "$ref" not in node and not options:
        yield node


@cache
def _schema() -> Node:
    return Study.model_json_schema()
