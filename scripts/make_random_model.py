"""Write a random model of a real shape in the hub's format, with a tokenizer: for rehearsals without weights.

    python scripts/make_random_model.py FOLDER HUB_ID [--dtype bfloat16]

The shape is the hub's own (resources/models.yaml). The tokenizer is of the family's kind, trained on sentences that the
miniature's world is made of, and filled up with unused tokens to the model's vocabulary.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.given_yaml import given_yaml

ROOT = Path(__file__).resolve().parents[1]
SEED = 1
KNOWN = 3000  # tokens of the vocabulary that texts have
SENTENCES = 5000
# Families to the kind of tokenizer that can be trained for them; all others LLaMA's.
KINDS = {"bert": "bert", "roberta": "bert", "gpt2": "gpt2", "gptj": "gpt2", "qwen2": "gpt2"}


def main() -> int:
    """Make it; 1 after a user's mistake."""
    parser = argparse.ArgumentParser(description="A random model of a real shape.", allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="that it is written to; it may not be there yet")
    parser.add_argument("identifier", help="of the hub, as resources/models.yaml lists it")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the weights")
    arguments = parser.parse_args()
    try:
        make_model(arguments.folder, arguments.identifier, arguments.dtype)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make_model(folder: Path, identifier: str, dtype: str) -> None:
    """Raises UserError for a model whose shape is not known, and a folder that is there."""
    known = given_yaml(ROOT / "resources/models.yaml")
    if identifier not in known:
        raise UserError(f"{identifier}: resources/models.yaml does not list it; choose one of {', '.join(known)}")
    if folder.exists():
        raise UserError(f"{folder} is there already: remove it, or name another folder")

    import torch
    from transformers import AutoConfig

    from kn_thesis.models.families import family_named
    from kn_thesis.models.tokenization import save_tokenizer, train_tokenizer

    settings: dict[str, Any] = dict(known[identifier])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    config.bos_token_id = config.eos_token_id = config.pad_token_id = 0
    family = family_named(config.model_type, identifier)
    kind = {"bert": "bert", "roberta": "bert", "gpt2": "gpt2", "gptj": "gpt2", "qwen2": "gpt2"}.get(
        family.name, "llama"
    )
    torch.manual_seed(SEED)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # weights are never there in a larger one
    try:
        module = family.model_class()(config)
    finally:
        torch.set_default_dtype(before)
    partial = folder.with_name(f".{folder.name}.partial")
    module.save_pretrained(partial, max_shard_size="2GB")
    tokenizer = train_tokenizer(kind, _sentences(), KNOWN)
    tokenizer.add_tokens([f"<unused{n}>" for n in range(config.vocab_size - tokenizer.get_vocab_size())])
    save_tokenizer(tokenizer, kind, partial, 512)
    partial.rename(folder)


def _sentences() -> list[str]:
    """Sentences of the miniature's world."""
    from kn_thesis.corpora.world import WorldSettings, make_world

    return make_world(ROOT / "resources/world", WorldSettings(sentences=SENTENCES)).text


if __name__ == "__main__":
    sys.exit(main())
