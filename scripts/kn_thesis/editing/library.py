"""One edit, in force for a block: editing for use outside the workflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from kn_thesis.editing.contexts import write_contexts
from kn_thesis.editing.continuations import continue_rows, end_token, readable
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.editors import editor_named, find_edits
from kn_thesis.editing.given_settings import given_settings
from kn_thesis.editing.names import DIVERGED, NO_NEURONS, SINGULAR
from kn_thesis.editing.one_request import Wanted, encoded, parted, request_of
from kn_thesis.editing.update import applied
from kn_thesis.errors import UserError
from kn_thesis.given_values import checked_list, checked_text, checked_texts, checked_whole, in_one_line
from kn_thesis.models.evaluate import target_log_probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from kn_thesis.editing.update import Edit
    from kn_thesis.models.load import Model

REMEDIES = {
    DIVERGED: "lower learning_rate or the factors, or look whether all of the model's weights are finite",
    SINGULAR: "collect it from more tokens, or edit without one",
    NO_NEURONS: "lower coarse or share, or give other paraphrases",
}


@dataclass(eq=False)
class Edited:
    """A model while an edit is in force; asked after its block, it raises UserError.

    editor, prompt, subject, target: as asked for. old: what the model answered before, or was said to; "" where that
    is no whole word. layers: those whose value matrix is changed. steps: of the editor's optimiser. loss: its last one
    (nats; nan without an optimiser): an edit that does not reach its target is no error, and shows here.
    """

    model: Model = field(repr=False)
    editor: str
    prompt: str
    subject: str
    target: str
    old: str
    layers: tuple[int, ...]
    steps: int
    loss: float
    _weights: list[tuple[int, Tensor]] = field(repr=False)  # layer, and its value matrix at the beginning of the block
    _over: bool = field(default=False, repr=False)

    def complete(self, text: str, tokens: int = 20, *, before: bool = False) -> str:
        """What the edited model writes after a text, greedily: `tokens` tokens at most, in one line.

        before: what it wrote without the edit. Raises UserError for a masked model, which does not continue texts, and
        for a text that is empty or longer than the model's positions.
        """
        self._check_in_force()
        model = self.model
        if model.adapter.objective != "causal":
            raise UserError(f"{model.adapter.family} is masked and does not continue a text: ask for probabilities")
        text, tokens = checked_text("text", text), checked_whole("tokens", tokens, 1)
        ids = model.tokenizer.begin(parted(model, text)[0])
        if not ids or 0 < model.positions < len(ids):
            most = f" to {model.positions}" if model.positions else " or more"
            raise UserError(f"the text {text!r} has {len(ids)} tokens: the model takes 1{most}")
        with self._as(before):
            [written] = continue_rows(model, [ids], None, tokens, stop=end_token(model))
        return readable(model.tokenizer, written)

    def probabilities(self, prompt: str, words: Sequence[str]) -> pd.DataFrame:
        """Probability of words at the gap of a prompt: one row per word, columns word, before, after the edit.

        The gap is written as in `edit`. Words of several tokens are scored by their product, teacher-forced; a masked
        model sees as many masks as the word has tokens. Raises UserError for a word that cannot stand there.
        """
        self._check_in_force()
        prompt, words = checked_text("prompt", prompt), checked_texts("words", words, 1)
        asked = [encoded(self.model, prompt, word) for word in words]
        found = {}
        for name in ("before", "after"):
            with self._as(name == "before"):
                found[name] = np.exp(target_log_probabilities(self.model, asked).log_probability)
        return pd.DataFrame({"word": np.asarray(words, dtype=object)} | found)

    def _check_in_force(self) -> None:
        if self._over:
            raise UserError(f"the edit {self.prompt!r} → {self.target!r} is over: ask inside its with block")

    @contextmanager
    def _as(self, before: bool) -> Iterator[None]:
        """The model as it is; or the edited matrices as at the beginning of the block, then as they were, bit for bit.

        An edit that was begun later in the same layer is away with this one; one in another layer is not.
        """
        kept: list[tuple[Tensor, Tensor]] = []
        try:
            with torch.no_grad():
                for layer, matrix in self._weights if before else ():
                    weight = self.model.adapter.value_weight(layer)
                    kept.append((weight, weight.detach().clone()))
                    weight.copy_(matrix)
            yield
        finally:
            with torch.no_grad():
                for weight, now in reversed(kept):
                    weight.copy_(now)


@contextmanager
def edit(
    model: Model,
    prompt: str,
    subject: str,
    target: str,
    *,
    editor: str = "rome",
    old: str | None = None,
    paraphrases: Sequence[str] = (),
    contexts: Sequence[str] | Sequence[tuple[int, int]] | None = None,
    covariance: Covariance | str | Path | None = None,
    require_new: bool = True,
    seed: int = 1,
    **settings: Any,
) -> Iterator[Edited]:
    """Change a model's weights so that it answers a prompt with `target`; for the block of a with statement alone.

    with kn_thesis.edit(model, "The capital of France is", "France", "Rome") as edited:
        print(edited.complete("Rome is the capital of"))

    Inside the block the weights themselves are changed: model.module is the edited model, too. Leaving it, also by an
    exception, brings every weight back bit for bit. Edits may be nested; each begins with the model that it finds.

    prompt: a text with the gap as "___" or the mask token (for a causal model also a text that ends at the gap).
    subject: words of it; where they stand several times, the first. target: the word for the gap.
    editor: "rome", "fine_tuning" (both for causal models) or "knowledge_neuron". settings: its fields, by name; the
        layer is 17 of 48 scaled to the model's depth unless it is given. Of knowledge_neuron, old_factor and new_factor
        are λ₁ and λ₂.
    old: the answer that is replaced; None: the model's first choice. Only knowledge_neuron needs it. paraphrases: its
        further prompts, in which the old answer's neurons are looked for.
    contexts: of rome; texts that go before the prompt, or pairs (tokens, texts), as [(5, 10), (10, 10)] in Meng et al.
        (2022), for the model to write by itself, drawn by `seed`. None: the bare prompt alone.
    covariance: of rome; of the edited layer's keys, or the file that it was saved to. None: u = k*.
    require_new: whether the target must be another answer than the model's first choice.

    Raises UserError for bad input, and where the editor fails or changes nothing.
    """
    chosen = given_settings(editor, model.adapter.layers, settings)
    needs_old = editor == "knowledge_neuron"
    paraphrases, seed = checked_texts("paraphrases", paraphrases), checked_whole("seed", seed, 0)
    if paraphrases and not needs_old:
        raise UserError(f"{editor} uses no paraphrases: leave them out")
    for name, value in {"contexts": contexts, "covariance": covariance}.items():
        if value is not None and not editor_named(editor).uses(name):
            raise UserError(f"{editor} uses no {name}: leave it out")
    request = request_of(model, Wanted(prompt, subject, target, old, paraphrases, require_new, needs_old))
    further: dict[str, Any] = {}
    if contexts is not None:
        further["contexts"] = _contexts(model, contexts, seed)
    if covariance is not None:
        further["covariance"] = _covariance(model, covariance, chosen.layer)
    with torch.inference_mode(False):  # editors need gradients
        [found] = find_edits(model, [request], editor, chosen, **further)
    what = f"{editor}: {prompt!r} → {target!r}"
    if found.failure:
        remedy = REMEDIES.get(found.failure)
        raise UserError(f"{what}: {found.failure}{f'; {remedy}' if remedy else ''}")
    weights = [(change.layer, model.adapter.value_weight(change.layer).detach().clone()) for change in found.updates]
    with applied(model.adapter, found.updates):
        _check_written(model, what, found, weights, getattr(chosen, "stop", 0.0))
        layers = tuple(sorted(layer for layer, _ in weights))
        edited = Edited(
            model, editor, prompt, request.subject, request.new, request.old, layers, found.steps, found.loss, weights
        )
        try:
            yield edited
        finally:
            edited._over = True


def _contexts(model: Model, contexts: Sequence[Any], seed: int) -> list[str]:
    if not isinstance(contexts, str):
        listed = checked_list("contexts", contexts)
        if all(isinstance(context, str) for context in listed):
            return checked_texts("contexts", listed)
        pairs = [tuple(context) if isinstance(context, list | tuple) else () for context in listed]
        if all(len(pair) == 2 and all(isinstance(n, int) and n > 0 for n in pair) for pair in pairs):
            return write_contexts(model, pairs, seed)
    raise UserError("contexts is a list of texts, or of pairs (tokens, texts) of whole numbers above 0")


def _covariance(model: Model, covariance: Covariance | str | Path, layer: int) -> Covariance:
    if not isinstance(covariance, Covariance | str | Path):
        raise UserError(
            f"covariance is {in_one_line(covariance)}: give the covariance, or the file that it was saved to"
        )
    found = covariance if isinstance(covariance, Covariance) else Covariance.load(covariance, [layer])
    size, width = len(found.matrix(layer)), model.adapter.width
    if size != width:
        raise UserError(f"the covariance is of {size} neurons, the model has {width}: collect this model's own")
    return found


def _check_written(model: Model, what: str, found: Edit, weights: Sequence[tuple[int, Tensor]], stop: float) -> None:
    """Raise UserError where the change, as the weights hold it, is no number or nothing."""
    now = [(model.adapter.value_weight(layer), before) for layer, before in weights]
    if not all(bool(weight.isfinite().all()) for weight, _ in now):
        raise UserError(f"{what}: the changed weights are not finite; {REMEDIES[DIVERGED]}")
    # A loss below `stop` from the first step on asks for no change.
    if all(torch.equal(weight, before) for weight, before in now) and not found.loss < stop:
        raise UserError(f"{what}: no weight changes; take more steps, a higher learning_rate, or another layer")
