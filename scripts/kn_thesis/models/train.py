"""Tiny models of real families, trained on a text until they have learned, the same weights from the same seed."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from kn_thesis.corpora.gaps import GapTokenizer
from kn_thesis.errors import UserError
from kn_thesis.files import scratch_folder, whole_file
from kn_thesis.models.architecture import POSITIONS, Settings, build_model
from kn_thesis.models.batches import batches, choose_masked, rows_by_length
from kn_thesis.models.families import family_named
from kn_thesis.models.load import Model
from kn_thesis.models.tokenization import save_tokenizer, train_tokenizer
from kn_thesis.models.validation import Questions, Validation

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BACKWARDS = 4  # every so many steps of next-token prediction a masked model reads from right to left
WARMUP = 100  # steps in which the learning rate rises, a tenth of them all at most
DECAY = 0.2  # of the steps before: over so many more the learning rate falls to nothing
AVERAGED = 0.1  # of the steps so far: the averaged weights are those of about the latest of them
CURVE_EVERY = 100  # steps between two points of the curve, which has at least CURVE_POINTS of them
CURVE_POINTS = 20
CHECKS = 0.05  # of the steps so far, and `check` at least, lie between two checks


@dataclass(frozen=True)
class Trained:
    """A trained model, its tokenizer, and how it was trained.

    curve: {"step", "loss"}, the mean over the steps since the point before, in nats per predicted token. steps: that
    were taken. learned: whether it answers the validation questions as demanded; None where nothing is demanded.
    validation: rows of task, split, n, correct, accuracy, demanded, wanted at the end.
    """

    module: PreTrainedModel
    tokenizer: Tokenizer
    curve: list[dict[str, float]]
    steps: int
    learned: bool | None = None
    validation: list[dict[str, Any]] = field(default_factory=list)


def train_model(
    family: str,
    sentences: Sequence[str],
    settings: Settings,
    *,
    questions: Questions | None = None,
    progress: bool = False,
) -> Trained:
    """Train a tokenizer and then a model on `sentences`; the same arguments give the same weights, bit for bit.

    One torch thread does the work, whatever the machine has: sums depend on how many threads add them up. The learning
    rate rises for WARMUP steps and then stays, so that training may end early and may go on (Hägele et al. 2024,
    arXiv:2405.18392). An average of the latest weights is what is asked, and what is returned. When it answers all
    `questions` as well as they demand, the rate falls to nothing over DECAY more of the steps so far. Training ends if
    half of the errors that the demands allow are left by then; otherwise the rate goes up again. After `settings.steps`
    steps training ends in any case, the last of them with the falling rate. Without questions it takes all of them.

    Causal models predict every token, each sentence alone in its row and closed by the end token. Masked models do the
    same for their first `causal_steps` (half of `steps` at most), every fourth of them backwards, and then predict
    masked words: masks alone ask about one or two words of a sentence, and words are learned that much more slowly
    (the order that Gisserot-Boukhlef et al. 2025, arXiv:2507.00994, find best for a given amount of work).

    Args:
        family: bert, gpt2 or llama.
        sentences: the text, a sentence an entry.
        settings: shape and training.
        questions: what the model has to learn, kept out of the text.
        progress: whether a bar is drawn on stderr.

    Raises:
        UserError: when there is nothing to train on, or when the loss is no longer a number.
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
        module = build_model(family, settings, tokenizer.get_vocab_size(), special).train()
        optimiser = torch.optim.AdamW(
            module.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        rise = max(min(WARMUP, settings.steps // 10), 1)
        decay = latest = range(round(settings.steps / (1 + DECAY)), settings.steps)
        average = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=_move_average, use_buffers=False).eval()
        asked = _asked_model(family, average.module, tokenizer)
        validation = Validation(questions, asked.tokenizer) if questions else None
        validation = validation if validation and validation.prompts else None
        due = _checks(settings.check)
        next_check = next(due)
        losses = _losses(family, module, tokenizer, groups, settings)
        every = max(min(CURVE_EVERY, settings.steps // CURVE_POINTS), 1)
        curve, recent, learned = [], [], None
        bar = tqdm(range(1, settings.steps + 1), file=sys.stderr, disable=not progress, mininterval=2, unit="step")
        for step in bar:
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * min(step / rise, _falling(step, decay))
            loss = next(losses)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            average.update_parameters(module)
            recent.append(loss.detach())
            if validation and (step in (decay.stop, settings.steps) or (step >= next_check and step < decay.start)):
                next_check = next(check for check in due if check > step)
                if step >= decay.stop:
                    learned, decay = validation.has_learned(asked, "wanted"), latest
                elif validation.has_learned(asked, "demanded"):
                    decay = range(step, min(step + math.ceil(DECAY * step), settings.steps))
            if step % every == 0 or step == settings.steps or learned:
                mean = float(torch.stack(recent).mean())
                recent = []
                if not np.isfinite(mean):
                    raise UserError(
                        f"training failed: the loss of the {family} model is {mean} after {step} steps;"
                        f" lower `learning_rate` ({settings.learning_rate})"
                    )
                curve.append({"step": step, "loss": round(mean, 6)})
                bar.set_postfix(loss=f"{mean:.3f}", not_yet=validation.first if validation else "", refresh=False)
            if learned:
                break
        rows = validation.table(asked).to_dict("records") if validation else []
    finally:
        torch.set_num_threads(threads)
    return Trained(average.module, tokenizer, curve, step, learned, rows)


def _losses(
    family: str, module: PreTrainedModel, tokenizer: Tokenizer, groups: Sequence[Any], settings: Settings
) -> Iterator[torch.Tensor]:
    """The loss of each step in turn, with gradient, on batches and masks drawn by the settings' seed."""
    import torch

    rng = np.random.default_rng(settings.seed)
    mask_id = tokenizer.token_to_id("[MASK]") if family == "bert" else None
    for step, batch in enumerate(batches(groups, settings.batch, rng), 1):
        ids = torch.from_numpy(batch.ids)
        if mask_id is None or step <= min(settings.causal_steps, settings.steps // 2):
            yield next_token_loss(module, ids, backwards=mask_id is not None and step % BACKWARDS == 0)
        else:
            chosen = torch.from_numpy(choose_masked(batch, settings.mask_rate, rng))
            yield masked_loss(module, ids, chosen, mask_id)


def _falling(step: int, decay: range) -> float:
    """The share of the learning rate in a step (counted from 1): 1 before the decay, then down a line to nothing."""
    return min(1.0, (decay.stop - step + 1) / (len(decay) + 1)) if len(decay) else 1.0


def _move_average(average: list[torch.Tensor], current: list[torch.Tensor], averaged: torch.Tensor | int) -> None:
    """Move the average towards the newest weights: by 1 / (AVERAGED · steps), so that it covers that many of them."""
    import torch

    torch._foreach_lerp_(average, current, min(1.0, 1 / (AVERAGED * (int(averaged) + 1))))


def _checks(every: int) -> Iterator[int]:
    """The steps after which the model is asked what it has learned: at least `every` apart, and rarer as they go on."""
    step = 0
    while True:
        step += max(every, round(CHECKS * step))
        yield step


def _asked_model(family: str, module: PreTrainedModel, tokenizer: Tokenizer) -> Model:
    """The module as the study's own functions ask it."""
    import torch

    adapter = family_named(family).adapter(module)
    mask = tokenizer.token_to_id("[MASK]") if adapter.objective == "masked" else None
    gaps = GapTokenizer(tokenizer, adapter.objective, mask, POSITIONS)
    return Model(module, adapter, gaps, torch.device("cpu"), f"the {family} in training")


def next_token_loss(module: PreTrainedModel, ids: torch.Tensor, backwards: bool = False) -> torch.Tensor:
    """Mean cross-entropy of every token given those before it, with gradient; ids int64 (rows, tokens).

    A masked model is made to read from left to right by its attention mask, or `backwards`, every token given those
    after it.
    """
    import torch

    inputs, answers = (slice(1, None), slice(None, -1)) if backwards else (slice(None, -1), slice(1, None))
    if _is_masked(module):
        rows, length = ids.shape
        seen = torch.ones(length, length, dtype=torch.bool)
        seen = (seen.triu() if backwards else seen.tril()).expand(rows, 1, length, length)
        hidden = module.base_model(input_ids=ids, attention_mask=seen).last_hidden_state
    else:
        hidden = module.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return torch.nn.functional.cross_entropy(_head(module)(hidden[:, inputs]).flatten(0, 1), ids[:, answers].flatten())


def masked_loss(module: PreTrainedModel, ids: torch.Tensor, masked: torch.Tensor, mask_id: int) -> torch.Tensor:
    """Mean cross-entropy of the masked tokens, with gradient; ids int64 and masked bool (rows, tokens).

    The head is computed at masked tokens and nowhere else.
    """
    import torch

    hidden = module.base_model(input_ids=ids.masked_fill(masked, mask_id)).last_hidden_state
    return torch.nn.functional.cross_entropy(_head(module)(hidden[masked]), ids[masked])


def _is_masked(module: PreTrainedModel) -> bool:
    return module.config.model_type == "bert"


def _head(module: PreTrainedModel) -> torch.nn.Module:
    """What turns hidden states into scores of tokens; BERT's has a layer before the output embeddings."""
    return module.cls if _is_masked(module) else module.get_output_embeddings()


def train_into(
    folder: str | Path, family: str, text: str | Path, settings: Settings, questions: Questions | None = None
) -> None:
    """Train on the sentences of `text` (one a line) and write the model to `folder`; see `save_trained`.

    Progress, seconds and what was not learned go to stderr. Raises UserError when the text cannot be read.
    """
    started = time.monotonic()
    try:
        sentences = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the training text cannot be read: {text}: {error}; make it again") from error
    trained = train_model(family, sentences, settings, questions=questions, progress=True)
    save_trained(trained, family, settings, folder)
    seconds = time.monotonic() - started
    last = trained.curve[-1]["loss"]
    print(f"{family}: {trained.steps} steps in {seconds:.0f} s, loss {last:.3f}, written to {folder}", file=sys.stderr)
    for row in trained.validation if trained.learned is False else ():
        if row["accuracy"] < row["wanted"]:
            print(
                f"{family}: not learned when the steps were used up: {row['task']} ({row['split']}),"
                f" {row['accuracy']:.1%} of the {row['wanted']:.1%} that end training",
                file=sys.stderr,
            )


def save_trained(trained: Trained, family: str, settings: Settings, folder: str | Path) -> None:
    """Write a model in the hub's format: all of its files or, when something goes wrong, none of the new ones.

    config.json, model.safetensors, tokenizer.json, tokenizer_config.json; training.json (settings and loss curve);
    and model.json (family and source) last.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as temporary:
        trained.module.save_pretrained(temporary)
        save_tokenizer(trained.tokenizer, family, temporary, POSITIONS)
        tokens = trained.tokenizer.get_vocab_size()
        parameters = sum(parameter.numel() for parameter in trained.module.parameters())
        _write_json(
            temporary / "training.json",
            {"settings": asdict(settings), "tokens": tokens, "parameters": parameters}
            | {"steps": trained.steps, "learned": trained.learned}
            | {"curve": trained.curve, "validation": trained.validation},
        )
        for file in sorted(temporary.iterdir()):
            os.replace(file, folder / file.name)
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
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
