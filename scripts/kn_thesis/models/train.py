"""Tiny models of real families, trained on a text in minutes on one core, the same weights from the same seed."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from kn_thesis.errors import UserError
from kn_thesis.models.batches import Rows, batches, choose_masked, rows_by_length
from kn_thesis.models.tokenization import save_tokenizer, train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

POSITIONS = 128  # the longest input in tokens
END = {"bert": None, "gpt2": "<|endoftext|>", "llama": "</s>"}
CURVE_POINTS = 50
SPREAD = 0.02 * 768**0.5  # of weights at the start, times the square root of the width


@dataclass(frozen=True)
class Settings:
    """How a model is made: its shape, and its training (see the configuration's section `train`)."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    intermediate: int = 512
    vocabulary: int = 3000
    steps: int = 1500
    batch: int = 128
    learning_rate: float = 2e-3
    mask_rate: float = 0.25
    seed: int = 1


@dataclass(frozen=True)
class Trained:
    """A trained model, its tokenizer, and its loss.

    curve: about 50 of {"step", "loss"}: the mean over the steps since the point before, in nats per predicted token.
    """

    module: PreTrainedModel
    tokenizer: Tokenizer
    curve: list[dict[str, float]]


def build_model(family: str, settings: Settings, vocabulary: int, token_ids: dict[str, int | None]) -> PreTrainedModel:
    """An untrained model of transformers' own class for `family`, without dropout.

    `vocabulary` is the number of tokens there are, `token_ids` the special ones (pad, bos, eos).
    """
    import transformers

    # The families' usual 0.02 is meant for a width of 768; narrower models start with wider weights.
    spread = round(SPREAD * settings.width**-0.5, 4)
    shared: dict[str, Any] = {"vocab_size": vocabulary, "initializer_range": spread}
    shared |= {f"{name}_token_id": number for name, number in token_ids.items()}
    if family == "bert":
        config = transformers.BertConfig(
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=settings.intermediate,
            max_position_embeddings=POSITIONS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            **shared,
        )
        return transformers.BertForMaskedLM(config)
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_embd=settings.width,
            n_layer=settings.layers,
            n_head=settings.heads,
            n_inner=settings.intermediate,
            n_positions=POSITIONS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            activation_function="gelu_pytorch_tanh",  # the same function as GPT-2's gelu_new, in one kernel
            **shared,
        )
        return transformers.GPT2LMHeadModel(config)
    if family == "llama":
        config = transformers.LlamaConfig(
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=settings.intermediate,
            max_position_embeddings=POSITIONS,
            **shared,
        )
        return transformers.LlamaForCausalLM(config)
    raise UserError(f"the family '{family}' cannot be trained; known: bert, gpt2, llama")


def train_model(family: str, sentences: Sequence[str], settings: Settings, *, progress: bool = False) -> Trained:
    """Train a tokenizer and then a model on `sentences`; the same arguments give the same weights, bit for bit.

    One torch thread does the work, whatever the machine has: sums depend on how many threads add them up.
    Masked models predict masked words, rarer words more often than common ones; causal models predict every token,
    each sentence alone in its row and closed by the end token. With `progress`, a bar is drawn on stderr.
    Raises UserError when there is nothing to train on, or when the loss is no longer a number.
    """
    import torch
    from tqdm import tqdm

    sentences = [sentence for line in sentences if (sentence := line.strip())]
    if not sentences:
        raise UserError("the training text has no sentence in it; write one sentence a line")
    tokenizer = train_tokenizer(family, sentences, settings.vocabulary)
    special = _special_ids(family, tokenizer)
    groups = rows_by_length(tokenizer, sentences, POSITIONS, special["eos"])
    if not groups:
        raise UserError(f"no sentence of the training text has between 2 and {POSITIONS} tokens")

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(settings.seed)
        module = build_model(family, settings, tokenizer.get_vocab_size(), special)
        module.train()
        optimiser = torch.optim.AdamW(
            module.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=settings.learning_rate, total_steps=settings.steps, pct_start=0.1, cycle_momentum=False
        )
        rng = np.random.default_rng(settings.seed)
        endless = batches(groups, settings.batch, rng)
        every = max(settings.steps // CURVE_POINTS, 1)
        curve, recent = [], []
        bar = tqdm(range(1, settings.steps + 1), file=sys.stderr, disable=not progress, mininterval=2, unit="step")
        mask_id = tokenizer.token_to_id("[MASK]") if family == "bert" else None
        for step in bar:
            loss = batch_loss(module, next(endless), mask_id, settings.mask_rate, rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            recent.append(loss.detach())
            if step % every == 0 or step == settings.steps:
                mean = float(torch.stack(recent).mean())
                recent = []
                if not np.isfinite(mean):
                    raise UserError(
                        f"training failed: the loss of the {family} model is {mean} after {step} steps;"
                        f" lower `learning_rate` ({settings.learning_rate})"
                    )
                curve.append({"step": step, "loss": round(mean, 6)})
                bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
    finally:
        torch.set_num_threads(threads)
    module.eval()
    return Trained(module, tokenizer, curve)


def batch_loss(
    module: PreTrainedModel, batch: Rows, mask_id: int | None, mask_rate: float, rng: np.random.Generator
) -> torch.Tensor:
    """Mean cross-entropy over the predicted tokens of one batch, with gradient.

    The head is computed where something is predicted and nowhere else: at masked tokens (`mask_id` given), or at
    every position but the last.
    """
    import torch

    ids = torch.from_numpy(batch.ids)
    if mask_id is None:
        hidden = module.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits, labels = module.get_output_embeddings()(hidden).flatten(0, 1), ids[:, 1:].flatten()
    else:
        masked = torch.from_numpy(choose_masked(batch, mask_rate, rng))
        hidden = module.base_model(input_ids=ids.masked_fill(masked, mask_id)).last_hidden_state
        logits, labels = module.cls(hidden[masked]), ids[masked]
    return torch.nn.functional.cross_entropy(logits, labels)


def train_into(folder: str | Path, family: str, text: str | Path, settings: Settings) -> None:
    """Train on the sentences of `text` (one a line) and write the model to `folder`; see `save_trained`.

    Progress and seconds go to stderr. Raises UserError when the text cannot be read.
    """
    started = time.monotonic()
    try:
        sentences = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the training text cannot be read: {text}: {error}; make it again") from error
    trained = train_model(family, sentences, settings, progress=True)
    save_trained(trained, family, settings, folder)
    seconds = time.monotonic() - started
    last = trained.curve[-1]["loss"]
    print(f"{family}: {settings.steps} steps in {seconds:.0f} s, loss {last:.3f}, written to {folder}", file=sys.stderr)


def save_trained(trained: Trained, family: str, settings: Settings, folder: str | Path) -> None:
    """Write a model in the hub's format: all of its files or, when something goes wrong, none of the new ones.

    config.json, model.safetensors, tokenizer.json, tokenizer_config.json; training.json (settings and loss curve);
    and model.json (family and source) last.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as made:
        temporary = Path(made)
        trained.module.save_pretrained(temporary)
        save_tokenizer(trained.tokenizer, family, temporary, POSITIONS)
        tokens = trained.tokenizer.get_vocab_size()
        parameters = sum(parameter.numel() for parameter in trained.module.parameters())
        _write_json(
            temporary / "training.json",
            {"settings": asdict(settings), "tokens": tokens, "parameters": parameters, "curve": trained.curve},
        )
        for file in sorted(temporary.iterdir()):
            shutil.move(file, folder / file.name)
    _write_json(folder / "model.json", {"family": family, "source": "train", "location": ".", "revision": None})


def _special_ids(family: str, tokenizer: Tokenizer) -> dict[str, int | None]:
    """Ids of the tokens for padding, begin and end; None where the family has none."""
    names = {
        "bert": {"pad": "[PAD]", "bos": None, "eos": None},
        "gpt2": {"pad": None, "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
        "llama": {"pad": None, "bos": "<s>", "eos": "</s>"},
    }[family]
    return {role: tokenizer.token_to_id(name) if name else None for role, name in names.items()}


def _write_json(path: Path, content: Any) -> None:
    from kn_thesis.files import whole_file

    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
