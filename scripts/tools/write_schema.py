"""Write the JSON schema of a study's configuration: `make schema` after a change to its models."""

from __future__ import annotations

import json
from pathlib import Path

import _path  # noqa: F401
from kn_thesis.configuration.schema import Study

SCHEMA = Path(__file__).resolve().parents[2] / "workflow" / "schemas" / "study.schema.json"


def schema_text() -> str:
    """Return the text of the schema in workflow/schemas/."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Study.model_json_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.parent.mkdir(parents=True, exist_ok=True)
    SCHEMA.write_text(schema_text(), encoding="utf-8")
