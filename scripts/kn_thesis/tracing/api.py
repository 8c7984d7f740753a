"""Trace a prompt causally: the public function `trace` and its result `Trace`, for use outside the workflow.

`trace` checks its arguments, puts the prompt and its words into tokens, and measures with `trace.trace_prompt`, as the
workflow does.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.blanks import GAP, CannotExpress, fill_blank
from kn_thesis.errors import UserError
from kn_thesis.inputs import checked_text, checked_whole, in_one_line, is_whole
from kn_thesis.models.cloze import Encoded, cue_tokens, too_long
from kn_thesis.models.evaluate import target_log_probabilities
from kn_thesis.tracing.patching import scaled_window
from kn_thesis.tracing.prose import RESTORED_WORDS
from kn_thesis.tracing.tables import roles
from kn_thesis.tracing.trace import Settings, trace_prompt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kn_thesis.models.cloze import GapTokenizer
    from kn_thesis.models.load import Model


# As in the figures of Meng et al. (2022).
COLOURS = {"hidden": "Purples", "mlp": "Greens", "attention": "Reds"}


@dataclass(frozen=True, eq=False)
class Trace:
    """How much of the answer restoring each token at each layer brings back, after the cue is corrupted.

    Attributes:
        tokens: The prompt's tokens as readable text.
        cue: First corrupted token and one past the last.
        gap: Position of the token at which the answer is read.
        kind: What is restored; one of `patching.KINDS`.
        window: Number of layers in a window, for the kinds "mlp" and "attention".
        target: The word asked for.
        foil: The word it is compared with, or None.
        measure: "probability", P(target), or, with a foil, "preference", P(target) / (P(target) + P(foil)).
        clean: The measure without noise.
        corrupted: The measure with noise on the cue, mean over noise samples.
        effects: The measure in the restored run minus the corrupted one, mean over noise samples; float64 (tokens,
            layers).
    """

    tokens: list[str]
    cue: tuple[int, int]
    gap: int
    kind: str
    window: int
    target: str
    foil: str | None
    measure: str
    clean: float
    corrupted: float
    effects: np.ndarray

    def frame(self) -> pd.DataFrame:
        """Convert to a table with one row per token and layer.

        Returns:
            The columns position, token, role (see `tables.ROLES`), layer and effect.
        """
        tokens, layers = self.effects.shape
        position = np.repeat(np.arange(tokens), layers)
        part = roles(tokens, self.cue, self.gap)
        return pd.DataFrame(
            {
                "position": position,
                "token": np.asarray(self.tokens, dtype=object)[position],
                "role": np.asarray(part, dtype=object)[position],
                "layer": np.tile(np.arange(layers), tokens),
                "effect": self.effects.ravel(),
            }
        )

    def plot(self) -> Figure:
        """Draw a heat map as Meng et al. (2022, figure 1): tokens down, those of the cue starred, layers across."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        tokens, layers = self.effects.shape
        figure = Figure(figsize=(2.6 + 0.22 * max(layers, 10), 1.3 + 0.22 * max(tokens, 4)), layout="constrained")
        axis = figure.subplots()
        axis.grid(visible=False)
        image = axis.imshow(
            self.effects,
            cmap=COLOURS.get(self.kind, COLOURS["hidden"]),
            aspect="auto",
            interpolation="nearest",
            vmin=min(0.0, float(self.effects.min())),
            vmax=max(1e-12, float(self.effects.max())),
        )
        starred = [f"{token}*" if self.cue[0] <= n < self.cue[1] else token for n, token in enumerate(self.tokens)]
        axis.set_yticks(range(tokens), starred, parse_math=False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        windowed = self.kind in ("mlp", "attention")
        axis.set_xlabel(f"middle of {self.window} layers" if windowed and self.window > 1 else "layer")
        measure = f"P({self.target})" if self.foil is None else f"P({self.target}) against P({self.foil})"
        axis.set_title(
            f"{RESTORED_WORDS[self.kind]}\n{measure}: {self.clean:.3g} → {self.corrupted:.3g}",
            loc="center",  # whatever style is set
            fontsize="medium",
            parse_math=False,
        )
        figure.colorbar(image, ax=axis, label="indirect effect")
        return figure


def trace(
    model: Model,
    prompt: str,
    cue: str,
    target: str,
    *,
    kind: str = "hidden",
    foil: str | None = None,
    draws: int = 10,
    noise: float | str = 3.0,
    window: int | None = None,
    batch_tokens: int = 4096,
    seed: int = 1,
    require_first_choice: bool = True,
) -> Trace:
    """Corrupt the words `cue` of a prompt, restore one state at a time, and measure how much of the answer comes back.

    Words of several tokens are scored by the product of their probabilities, teacher-forced.

    Args:
        model: What `load_model` returns.
        prompt: A text with the blank written "___" or as the mask token. For a causal model, also a text that ends
            where the blank would be.
        cue: Words of the prompt; the first occurrence is corrupted.
        target: The word for the blank.
        kind: What is restored at each token and layer: "hidden" (the state that leaves the layer), "mlp" or "attention"
            (what they add in a window of layers), or "severed_mlp" or "severed_attention" (hidden, while what the
            token's MLPs or attentions add above is held at its corrupted value).
        foil: Another word for the blank. With it, the share P(target) / (P(target) + P(foil)) is measured in place of
            P(target).
        draws: Number of samples of the Gaussian noise.
        noise: Scale of the noise, in standard deviations of the word embeddings; "s3", as Meng et al. write it, is 3.
        window: Number of layers in a window; None scales 10 of 48 to the model's depth.
        batch_tokens: Maximum rows × tokens in memory at once.
        seed: Seed of the noise.
        require_first_choice: Whether to refuse a prompt whose target is not the model's first choice, or, with a foil,
            not more probable than the foil. What the model does not know cannot be restored.

    Returns:
        The indirect effects, with what they were measured on.

    Raises:
        UserError: For an invalid argument, or a prompt that the model does not answer as required.
    """
    layers = model.adapter.layers
    prompt, cue, target = (
        checked_text(name, text) for name, text in (("prompt", prompt), ("cue", cue), ("target", target))
    )
    foil = None if foil is None else checked_text("foil", foil)
    draws, batch_tokens = checked_whole("draws", draws), checked_whole("batch_tokens", batch_tokens, 1)
    noise, seed = _checked_noise(noise), checked_whole("seed", seed, 0)
    if window is not None and not is_whole(window, 1):
        raise UserError(f"window is {in_one_line(window)}: give a whole number of layers, 1 or more, or None")
    share = Settings.window if window is None else window / layers
    settings = Settings(noise, draws, share, (kind,), batch_tokens, seed)
    target, foil = target.strip(), None if foil is None else foil.strip()
    words = _encoded_words(model, prompt, target, foil)
    if too_long(model, words):
        raise UserError(f"the prompt {prompt!r} is longer than the model's {model.positions} positions: shorten it")
    prefix, suffix, glued = model.tokenizer.around_gap(prompt)
    span = cue_tokens(model.tokenizer, prefix, suffix, target, cue.strip(), glued)
    if require_first_choice:
        _check_answer(model, prompt, words, target, foil)
    probabilities = trace_prompt(model, words, span, f"{fill_blank(prefix, GAP, glued)}{suffix}", settings)
    clean, corrupted, effects = probabilities.effects() if foil is None else probabilities.preference_effects()
    return Trace(
        tokens=[_token_text(model.tokenizer, token) for token in words[0].input_ids],
        cue=span,
        gap=words[0].gap,
        kind=kind,
        window=scaled_window(layers, share),
        target=target,
        foil=foil,
        measure="probability" if foil is None else "preference",
        clean=clean,
        corrupted=corrupted,
        effects=effects[0],
    )


def _checked_noise(noise: float | str) -> float:
    """The noise as a number. `Settings` refuses one that is not above 0."""
    match = re.fullmatch(r"s(\d+(\.\d+)?)", noise) if isinstance(noise, str) else None
    if match:
        return float(match[1])
    if not isinstance(noise, Real) or isinstance(noise, bool) or not math.isfinite(noise):
        raise UserError(f"noise is {in_one_line(noise)}: give a number of standard deviations, as 3.0 or 's3'")
    return float(noise)


def _encoded_words(model: Model, prompt: str, target: str, foil: str | None) -> list[Encoded]:
    """Target and foil in tokens, checked."""
    words = []
    for word in (target,) if foil is None else (target, foil):
        try:
            words.append(model.tokenizer.encode_prompt(prompt, word))
        except CannotExpress as error:
            raise UserError(
                f"{word!r} cannot fill the blank of the prompt {prompt!r}: {error.reason}; change the word, or the "
                f"prompt, whose blank is written {GAP}"
            ) from None
    ids = [word.target_ids for word in words]
    if foil is not None and model.adapter.objective == "masked" and len(ids[0]) != len(ids[1]):
        raise UserError(
            f"{target!r} and {foil!r} have {len(ids[0])} and {len(ids[1])} tokens: a masked model cannot be asked for "
            "both in one place; choose another foil"
        )
    if foil is not None and ids[0][: len(ids[1])] == ids[1][: len(ids[0])]:
        raise UserError(
            f"the tokens of {target!r} begin with those of {foil!r}, or the other way round: choose another foil"
        )
    return words


def _check_answer(model: Model, prompt: str, words: list[Encoded], target: str, foil: str | None) -> None:
    """Raise UserError unless the model prefers the target."""
    answers = target_log_probabilities(model, words)
    advice = "ask what the model knows, or pass require_first_choice=False"
    if foil is not None and not answers.log_probability[0] > answers.log_probability[1]:
        raise UserError(f"{target!r} is not more probable than {foil!r} in the prompt {prompt!r}: {advice}")
    if foil is None and not answers.first_choice[0]:
        raise UserError(f"{target!r} is not the model's first choice in the prompt {prompt!r}: {advice}")


def _token_text(tokenizer: GapTokenizer, token: int) -> str:
    """A token's text; its vocabulary entry where the text is a space or part of a letter."""
    text = tokenizer.tokenizer.decode([token], skip_special_tokens=False).strip()
    return text if text and "\ufffd" not in text else str(tokenizer.tokenizer.id_to_token(token))
