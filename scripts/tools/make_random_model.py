"""Write a model of a real shape with random weights and a tokenizer, in the hub's format, for rehearsals.

    python scripts/tools/make_random_model.py FOLDER HUB_ID [--dtype bfloat16] [--text PAIRS.jsonl]

The shape is that of the model on the hub (resources/models.yaml). The tokenizer is of the family's kind. It is trained
on sentences of the miniature's world (and of --text, a file of BLiMP), and unused tokens fill the model's vocabulary.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import _path  # noqa: F401
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_user_yaml

ROOT = Path(__file__).resolve().parents[2]
SEED = 1
TRAINED_TOKENS = 3000  # of the vocabulary; the others are unused
SENTENCES = 5000  # of the world's text
# Kind of tokenizer that can be trained for a family; for all others it is LLaMA's.
KINDS = {"bert": "bert", "roberta": "bert", "gpt2": "gpt2", "gptj": "gpt2", "qwen2": "gpt2"}


def main() -> int:
    """Write the model; return the exit status, 1 after a user's mistake."""
    parser = argparse.ArgumentParser(description="A random model of a real shape.", allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="folder of the model; it must not exist")
    parser.add_argument("identifier", help="the model's id on the hub, as resources/models.yaml lists it")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the weights")
    parser.add_argument("--text", type=Path, help="a file of pairs whose sentences the tokenizer is also trained on")
    arguments = parser.parse_args()
    try:
        make_model(arguments.folder, arguments.identifier, arguments.dtype, arguments.text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make_model(folder: Path, identifier: str, dtype: str, text: Path | None = None) -> None:
    """Write a random model.

    Args:
        folder: the folder to write.
        identifier: id on the hub.
        dtype: of the weights: "float32" or "bfloat16".
        text: a file of pairs whose sentences the tokenizer is also trained on.

    Raises:
        UserError: the model's shape is unknown, or the folder exists.
    """
    known = read_user_yaml(ROOT / "resources/models.yaml")
    if identifier not in known:
        raise UserError(f"{identifier}: resources/models.yaml does not list it; choose one of {', '.join(known)}")
    if folder.exists():
        raise UserError(f"{folder} is there already: remove it, or name another folder")

    import torch
    from transformers import AutoConfig

    from kn_thesis.models.families import family_named
    from kn_thesis.models.tokenizer_training import save_tokenizer, train_tokenizer

    settings: dict[str, Any] = dict(known[identifier])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    config.bos_token_id = config.eos_token_id = config.pad_token_id = 0
    family = family_named(config.model_type, identifier)
    kind = KINDS.get(family.name, "llama")
    torch.manual_seed(SEED)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # so that no weights are made in a larger type first
    try:
        module = family.model_class()(config)
    finally:
        torch.set_default_dtype(before)
    partial = folder.with_name(f".{folder.name}.partial")
    module.save_pretrained(partial, max_shard_size="2GB")
    tokenizer = train_tokenizer(kind, _sentences(text), TRAINED_TOKENS)
    tokenizer.add_tokens([f"<unused{n}>" for n in range(config.vocab_size - tokenizer.get_vocab_size())])
    save_tokenizer(tokenizer, kind, partial, 512)
    partial.rename(folder)


def _sentences(text: Path | None) -> list[str]:
    """Return sentences of the miniature's world, and those of a file of pairs."""
    from kn_thesis.corpora.world.build import WorldSettings, make_world
    from kn_thesis.inputs import read_rows

    pairs = [] if text is None else read_rows(text, {"sentence_good": str, "sentence_bad": str})
    sentences = [pair[name] for pair in pairs for name in ("sentence_good", "sentence_bad")]
    return make_world(ROOT / "resources/world", WorldSettings(sentences=SENTENCES)).text + sentences


if __name__ == "__main__":
    sys.exit(main())
