"""Files of a configuration, read again strictly: what Snakemake lets pass in them is said here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.given import given_text, strict_json
from kn_thesis.given_yaml import yaml_content


def read_layer(path: str | Path) -> Mapping[str, Any]:
    """What a configuration file says, JSON or YAML.

    Raises UserError as `given_yaml` does, for a file without keys at its top level, and for templates: code in a
    configuration is not run.
    """
    text = given_text(path)
    try:
        content = strict_json(text) if Path(path).suffix == ".json" else yaml_content(text, path)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): correct it") from None
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: must have `key: value` entries at its top level")
    if "__use_yte__" in content:
        raise UserError(f"{path}: __use_yte__: templates are not read: write out the values")
    return content
