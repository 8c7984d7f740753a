"""Train tiny models of real families on a text until they have learned it; the same seed gives the same weights.

`train_model` trains a tokenizer and one of transformers' own classes (`build_model`), and `train_into` writes them to a
folder in the hub's format. `validation` decides when a model has learned.
"""

from __future__ import annotations

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

from kn_thesis.errors import UserError
from kn_thesis.files import scratch_folder, write_json
from kn_thesis.models.cloze import GapTokenizer
from kn_thesis.models.families import family_named
from kn_thesis.models.load import Model
from kn_thesis.models.tokenizer_training import save_tokenizer, train_tokenizer
from kn_thesis.models.training_batches import batches, choose_masked, rows_by_length
from kn_thesis.models.validation import Questions, Validation

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


POSITIONS = 128  # maximum number of tokens in an input
SPREAD = 0.02 * 768**0.5  # standard deviation of initial weights, times the square root of the width
BACKWARDS = 4  # during next-token prediction a masked model reads from right to left in one of so many steps
WARMUP = 100  # steps in which the learning rate rises; at most a tenth of all steps
DECAY = 0.2  # the learning rate falls to 0 over this share of the steps before
AVERAGED = 0.1  # the averaged weights are those of about this share of the steps so far
CURVE_EVERY = 100  # steps between two points of the loss curve,
CURVE_POINTS = 20  # which has at least so many points
CHECKS = 0.05  # share of the steps so far between two checks; at least `check` steps


@dataclass(frozen=True)
class Settings:
    """Shape and training of a model; see the section `train` of the configuration."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    intermediate: int = 512
    vocabulary: int = 3000
    steps: int = 6000
    batch: int = 64
    learning_rate: float = 2e-3
    check: int = 50
    causal_steps: int = 1200
    mask_rate: float = 0.2
    seed: int = 1


@dataclass(frozen=True)
class Trained:
    """A trained model and how it was trained.

    Attributes:
        module: The model.
        tokenizer: Its tokenizer.
        curve: Points {"step", "loss"}: the mean loss since the point before, in nats per predicted token.
        steps: Number of steps taken.
        learned: Whether the validation questions are answered as wanted; None without questions.
        validation: Rows of `Validation.table` at the end.
    """

    module: PreTrainedModel
    tokenizer: Tokenizer
    curve: list[dict[str, float]]
    steps: int
    learned: bool | None = None
    validation: list[dict[str, Any]] = field(default_factory=list)


def train_into(
    folder: str | Path, family: str, text: str | Path, settings: Settings, questions: Questions | None = None
) -> None:
    """Train a model on a text and write it to a folder, with progress and what was not learned on stderr.

    Args:
        folder: Where to write; see `save_trained`.
        family: "bert", "gpt2" or "llama".
        text: File with one sentence per line.
        settings: Shape and training.
        questions: What the model has to learn, held out of the text.

    Raises:
        UserError: The text cannot be read; or see `train_model`.
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


def train_model(
    family: str,
    sentences: Sequence[str],
    settings: Settings,
    *,
    questions: Questions | None = None,
    progress: bool = False,
) -> Trained:
    """Train a tokenizer and a model on sentences; the same arguments give the same weights, bit for bit.

    Only one torch thread is used, because floating-point sums depend on the number of threads.

    The learning rate rises for WARMUP steps and then stays constant, so that training can end early or go on (Hägele et
    al. 2024, arXiv:2405.18392). The model that is evaluated and returned is an average of the latest weights. When it
    meets the demands of all `questions`, the rate falls to 0 over DECAY of the steps so far. Training ends if by then
    at most half of the errors that the demands allow are left; otherwise the rate goes up again. Training ends after
    `settings.steps` steps in any case, the last of them with a falling rate. Without questions it takes all of them.

    Causal models predict every token, with one sentence per row, closed by the end token. Masked models do the same in
    their first `causal_steps` (at most half of `steps`), every fourth of them backwards, and then predict masked words.
    Masks alone ask about one or two words of a sentence, so words would be learned more slowly. Gisserot-Boukhlef et
    al. (2025, arXiv:2507.00994) find this order best for a given amount of computation.

    Args:
        family: "bert", "gpt2" or "llama".
        sentences: The text, one sentence per entry.
        settings: Shape and training.
        questions: What the model has to learn, held out of the text.
        progress: Whether to show a progress bar on stderr.

    Raises:
        UserError: There is nothing to train on, or the loss is no longer finite.
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
        model = _averaged_model(family, average.module, tokenizer)
        validation = Validation(questions, model.tokenizer) if questions else None
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
                    learned, decay = validation.has_learned(model, "wanted"), latest
                elif validation.has_learned(model, "demanded"):
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
        rows = validation.table(model).to_dict("records") if validation else []
    finally:
        torch.set_num_threads(threads)
    return Trained(average.module, tokenizer, curve, step, learned, rows)


def build_model(family: str, settings: Settings, vocabulary: int, token_ids: dict[str, int | None]) -> PreTrainedModel:
    """Build an untrained model of transformers' own class, without dropout.

    Args:
        family: "bert", "gpt2" or "llama".
        settings: The shape.
        vocabulary: Number of tokens.
        token_ids: Ids of the special tokens pad, bos and eos.

    Raises:
        UserError: The family cannot be trained.
    """
    import transformers

    # The usual 0.02 is meant for a width of 768; narrower models start with larger weights.
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
            activation_function="gelu_pytorch_tanh",  # the same function as GPT-2's gelu_new, as one kernel
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
            tie_word_embeddings=True,  # as in the smallest models of the family; untied models memorize agreement
            **shared,
        )
        return transformers.LlamaForCausalLM(config)
    raise UserError(f"the family '{family}' cannot be trained; known: bert, gpt2, llama")


def next_token_loss(module: PreTrainedModel, ids: torch.Tensor, backwards: bool = False) -> torch.Tensor:
    """Compute the mean cross-entropy of every token given those before it, with gradient.

    An attention mask makes a masked model read in one direction.

    Args:
        module: The model.
        ids: Token ids, int64 (rows, tokens).
        backwards: For a masked model: predict every token from those after it.
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
    """Compute the mean cross-entropy of the masked tokens, with gradient.

    Args:
        module: The model.
        ids: Token ids, int64 (rows, tokens).
        masked: Which tokens to mask, bool (rows, tokens). Logits are computed only there.
        mask_id: Id of the mask token.
    """
    import torch

    hidden = module.base_model(input_ids=ids.masked_fill(masked, mask_id)).last_hidden_state
    return torch.nn.functional.cross_entropy(_head(module)(hidden[masked]), ids[masked])


def _is_masked(module: PreTrainedModel) -> bool:
    return module.config.model_type == "bert"


def _head(module: PreTrainedModel) -> torch.nn.Module:
    """Return the output head; BERT's has a layer before the output embeddings."""
    return module.cls if _is_masked(module) else module.get_output_embeddings()


def _losses(
    family: str, module: PreTrainedModel, tokenizer: Tokenizer, groups: Sequence[Any], settings: Settings
) -> Iterator[torch.Tensor]:
    """Yield the loss of each step, with gradient, on batches and masks drawn with the settings' seed."""
    import torch

    rng = np.random.default_rng(settings.seed)
    mask_id = tokenizer.token_to_id("[MASK]") if family == "bert" else None
    for step, batch in enumerate(batches(groups, settings.batch, rng), 1):
        ids = torch.from_numpy(batch.ids)
        if mask_id is None or step <= min(settings.causal_steps, settings.steps // 2):
            yield next_token_loss(module, ids, backwards=mask_id is not None and step % BACKWARDS == 0)
        else:
            masked = torch.from_numpy(choose_masked(batch, settings.mask_rate, rng))
            yield masked_loss(module, ids, masked, mask_id)


def _falling(step: int, decay: range) -> float:
    """Return the factor of the learning rate in a step (from 1): 1 before the decay, then linearly down to 0."""
    return min(1.0, (decay.stop - step + 1) / (len(decay) + 1)) if len(decay) else 1.0


def _move_average(average: list[torch.Tensor], current: list[torch.Tensor], averaged: torch.Tensor | int) -> None:
    """Move the average towards the current weights by 1 / (AVERAGED · steps)."""
    import torch

    torch._foreach_lerp_(average, current, min(1.0, 1 / (AVERAGED * (int(averaged) + 1))))


def _checks(every: int) -> Iterator[int]:
    """Yield the steps after which the model is validated: at least `every` apart, and further apart later."""
    step = 0
    while True:
        step += max(every, round(CHECKS * step))
        yield step


def _averaged_model(family: str, module: PreTrainedModel, tokenizer: Tokenizer) -> Model:
    """Wrap the module for the functions of the study."""
    import torch

    adapter = family_named(family).adapter(module)
    mask = tokenizer.token_to_id("[MASK]") if adapter.objective == "masked" else None
    gap_tokenizer = GapTokenizer(tokenizer, adapter.objective, mask, POSITIONS)
    return Model(module, adapter, gap_tokenizer, torch.device("cpu"), f"the {family} in training")


def save_trained(trained: Trained, family: str, settings: Settings, folder: str | Path) -> None:
    """Write a model in the hub's format, with training.json (settings and loss curve) and, last, model.json.

    If something fails, none of the new files is kept.

    Args:
        trained: From `train_model`.
        family: The model's family.
        settings: Its settings.
        folder: Where to write; made if it does not exist.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as temporary:
        trained.module.save_pretrained(temporary)
        save_tokenizer(trained.tokenizer, family, temporary, POSITIONS)
        tokens = trained.tokenizer.get_vocab_size()
        parameters = sum(parameter.numel() for parameter in trained.module.parameters())
        write_json(
            temporary / "training.json",
            {"settings": asdict(settings), "tokens": tokens, "parameters": parameters}
            | {"steps": trained.steps, "learned": trained.learned}
            | {"curve": trained.curve, "validation": trained.validation},
        )
        for file in sorted(temporary.iterdir()):
            os.replace(file, folder / file.name)
    write_json(folder / "model.json", {"family": family, "source": "train", "location": ".", "revision": None})


def _special_ids(family: str, tokenizer: Tokenizer) -> dict[str, int | None]:
    """Return the ids of the tokens for padding, begin and end; None if the family has none."""
    names = {
        "bert": {"pad": "[PAD]", "bos": None, "eos": None},
        "gpt2": {"pad": None, "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
        "llama": {"pad": None, "bos": "<s>", "eos": "</s>"},
    }[family]
    return {role: tokenizer.token_to_id(name) if name else None for role, name in names.items()}
