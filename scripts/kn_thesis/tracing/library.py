"""One prompt, one kind of restored state: causal tracing for use outside the workflow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import GAP, CannotExpress, Encoded, filled
from kn_thesis.errors import UserError
from kn_thesis.given_values import checked_text, checked_whole, in_one_line, is_whole
from kn_thesis.models.evaluate import target_log_probabilities
from kn_thesis.models.length import too_long
from kn_thesis.tracing.names import RESTORED_WORDS
from kn_thesis.tracing.prompt import Settings, trace_prompt
from kn_thesis.tracing.restore import scaled_window
from kn_thesis.tracing.roles import roles
from kn_thesis.tracing.spans import cue_span

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kn_thesis.corpora.gaps import GapTokenizer
    from kn_thesis.models.load import Model

# As in the figures of Meng et al. (2022).
COLOURS = {"hidden": "Purples", "mlp": "Greens", "attention": "Reds"}


@dataclass(frozen=True, eq=False)
class Trace:
    """What restoring each token at each layer brings back of the answer that was lost with the cue.

    tokens: the prompt's, as they read. cue: first token that is corrupted and one past the last. gap: the token at
    which the answer is read. kind: of restore.KINDS. window: layers in a window (of kinds that have one). target, foil:
    the words. measure: "probability", P(target), or, with a foil, "preference", P(target) / (P(target) + P(foil)).
    clean, corrupted: the measure without and with noise on the cue (mean over its draws).
    effects (tokens, layers), float64: the measure in the restored run minus the corrupted one, mean over draws.
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
        """One row per token and layer: position, token, role (of roles.ROLES), layer, effect."""
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
        """Heat map after Meng et al. (2022, figure 1): tokens down, those of the cue starred, layers across."""
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
        measured = f"P({self.target})" if self.foil is None else f"P({self.target}) against P({self.foil})"
        axis.set_title(
            f"{RESTORED_WORDS[self.kind]}\n{measured}: {self.clean:.3g} → {self.corrupted:.3g}",
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
    """Corrupt the words `cue` of a prompt, restore one state at a time, and see how much of the answer comes back.

    prompt: a text with the gap as "___" or the mask token (for a causal model also a text that ends at the gap).
    cue: words of it; where they stand several times, the first. target: the word for the gap. foil: another one; its
        share P(target) / (P(target) + P(foil)) is then looked at in place of P(target). Words of several tokens are
        scored by their product, teacher-forced.
    kind: what is restored at each token and layer: "hidden" (the state that leaves the layer), "mlp" or "attention"
        (what they add in a window of layers), or "severed_mlp", "severed_attention" (hidden, while what the token's
        MLPs or attentions add above is held at its corrupted value).
    draws, noise, seed: of Gaussian noise, in standard deviations of the word embeddings; "s3", as Meng et al. write
        it, is 3. window: in layers; None: 10 of 48, scaled to the model's depth. batch_tokens: most rows × tokens in
        memory at once.
    require_first_choice: whether the target has to be the model's first choice, or, with a foil, more probable than it:
        there is nothing to bring back of what the model does not know.

    Raises UserError for bad input.
    """
    layers = model.adapter.layers
    prompt, cue, target = (
        checked_text(name, text) for name, text in (("prompt", prompt), ("cue", cue), ("target", target))
    )
    foil = None if foil is None else checked_text("foil", foil)
    draws, batch_tokens = checked_whole("draws", draws), checked_whole("batch_tokens", batch_tokens, 1)
    noise, seed = _deviations(noise), checked_whole("seed", seed, 0)
    if window is not None and not is_whole(window, 1):
        raise UserError(f"window is {in_one_line(window)}: give a whole number of layers, 1 or more, or None")
    share = Settings.window if window is None else window / layers
    settings = Settings(noise, draws, share, (kind,), batch_tokens, seed)
    target, foil = target.strip(), None if foil is None else foil.strip()
    words = _words(model, prompt, target, foil)
    if too_long(model, words):
        raise UserError(f"the prompt {prompt!r} is longer than the model's {model.positions} positions: shorten it")
    prefix, suffix, glued = model.tokenizer.around_gap(prompt)
    span = cue_span(model.tokenizer, prefix, suffix, target, cue.strip(), glued)
    if require_first_choice:
        _check_answer(model, prompt, words, target, foil)
    found = trace_prompt(model, words, span, f"{filled(prefix, GAP, glued)}{suffix}", settings)
    clean, corrupted, effects = found.effects() if foil is None else found.preference_effects()
    return Trace(
        tokens=[_read(model.tokenizer, token) for token in words[0].input_ids],
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


def _deviations(noise: float | str) -> float:
    """The noise as a number. Settings refuse one that is not above 0."""
    written = re.fullmatch(r"s(\d+(\.\d+)?)", noise) if isinstance(noise, str) else None
    if written:
        return float(written[1])
    if not isinstance(noise, Real) or isinstance(noise, bool) or not math.isfinite(noise):
        raise UserError(f"noise is {in_one_line(noise)}: give a number of standard deviations, as 3.0 or 's3'")
    return float(noise)


def _words(model: Model, prompt: str, target: str, foil: str | None) -> list[Encoded]:
    """The target and the foil at the gap, in tokens, checked."""
    words = []
    for word in (target,) if foil is None else (target, foil):
        try:
            words.append(model.tokenizer.encode_prompt(prompt, word))
        except CannotExpress as error:
            raise UserError(
                f"{word!r} cannot fill the gap of the prompt {prompt!r}: {error.reason}; change the word, or the "
                f"prompt, whose gap is written {GAP}"
            ) from None
    ids = [word.target_ids for word in words]
    if foil is not None and model.adapter.objective == "masked" and len(ids[0]) != len(ids[1]):
        raise UserError(
            f"{target!r} and {foil!r} have {len(ids[0])} and {len(ids[1])} tokens: a masked model cannot be asked for "
            "both in one place; choose another foil"
        )
    if foil is not None and ids[0][: len(ids[1])] == ids[1][: len(ids[0])]:
        raise UserError(f"the tokens of {target!r} and {foil!r} begin alike to the end of one: choose another foil")
    return words


def _check_answer(model: Model, prompt: str, words: list[Encoded], target: str, foil: str | None) -> None:
    """Raise UserError when the model does not answer as is expected of it."""
    answers = target_log_probabilities(model, words)
    way_out = "ask what the model knows, or pass require_first_choice=False"
    if foil is not None and not answers.log_probability[0] > answers.log_probability[1]:
        raise UserError(f"{target!r} is not more probable than {foil!r} in the prompt {prompt!r}: {way_out}")
    if foil is None and not answers.first_choice[0]:
        raise UserError(f"{target!r} is not the model's first choice in the prompt {prompt!r}: {way_out}")


def _read(tokenizer: GapTokenizer, token: int) -> str:
    """A token as it reads; as it is spelt in the vocabulary where it is a space or a part of a letter."""
    text = tokenizer.tokenizer.decode([token], skip_special_tokens=False).strip()
    return text if text and "\ufffd" not in text else str(tokenizer.tokenizer.id_to_token(token))
