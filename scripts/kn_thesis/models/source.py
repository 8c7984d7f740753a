"""Models that exist already, on the hub or in a folder: looked at early, so that a run fails here or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kn_thesis.files import whole_file
from kn_thesis.models.fit import check_tokenizer
from kn_thesis.models.folder import check_folder, check_model, fast_tokenizer, read_json
from kn_thesis.models.hub import snapshot

# What a family's tokens are called when the model's files leave it to the library's defaults.
USUAL = {
    "bert": {"mask_token": "[MASK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    "roberta": {"mask_token": "<mask>", "cls_token": "<s>", "sep_token": "</s>"},
}


def record_hub_model(identifier: str, revision: str | None, family: str, folder: str | Path) -> None:
    """Download a hub model to the hub's own cache, check it, and record it in `folder`.

    `revision` is a commit, tag or branch; None is the newest. It is resolved to a commit, and that is what model.json
    says. Writes model.json, tokenizer.json and tokenizer_config.json; weights stay in the cache. A complete copy in
    the cache serves when the hub cannot be reached. Raises UserError for everything that can be wrong with it.
    """
    found = snapshot(identifier, revision)
    name = f"the hub's {identifier}"
    if revision:
        name += f" at {revision}"
    check_model(found, name, family)
    _record(found, name, folder, {"family": family, "source": "hub", "location": identifier}, found.name)


def record_path_model(path: str | Path, family: str, folder: str | Path) -> None:
    """Check a model in a folder in the hub's format and record it in `folder`, as `record_hub_model` does.

    The weights stay where they are; model.json says where (an absolute path) and has no revision.
    """
    found = check_folder(path, family)
    _record(found, str(path), folder, {"family": family, "source": "path", "location": str(found)}, None)


def _record(found: Path, name: str, folder: str | Path, entries: dict[str, Any], revision: str | None) -> None:
    """Write the tokenizer's two files, then model.json."""
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as made:
        converted = found if (found / "tokenizer.json").is_file() else fast_tokenizer(found, name, Path(made))
        vocabulary = read_json(found / "config.json", name).get("vocab_size")
        check_tokenizer(converted / "tokenizer.json", name, vocabulary)
        settings: dict[str, Any] = {}
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            if os.path.lexists(converted / file):
                settings |= read_json(converted / file, name)
        settings.pop("auto_map", None)  # code that comes with a model is never run
        for token, usual in USUAL.get(entries["family"], {}).items():
            settings.setdefault(token, usual)
        with whole_file(folder / "tokenizer.json") as path:
            shutil.copyfile(converted / "tokenizer.json", path)
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "model.json", entries | {"revision": revision})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
