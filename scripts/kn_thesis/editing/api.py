"""Edit a model outside the workflow: `with kn_thesis.edit(…) as edited:` changes its weights for one block.

`edit` is the public function and `Edited` the model while the edit is in force. `make_request` builds a request from
texts as a user writes them, `parse_settings` an editor's settings from keyword arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from kn_thesis.corpora.blanks import GAP, CannotExpress, fill_blank, find_words
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.editors import editor_named, find_edits
from kn_thesis.editing.evaluation import predict
from kn_thesis.editing.generation import continue_rows, end_token, readable_text, write_contexts
from kn_thesis.editing.requests import Request
from kn_thesis.editing.settings import Setting, check_layer
from kn_thesis.editing.tables import DIVERGED, NO_NEURONS, SINGULAR
from kn_thesis.editing.weight_update import applied
from kn_thesis.errors import UserError
from kn_thesis.inputs import checked_list, checked_text, checked_texts, checked_whole, in_one_line, is_whole
from kn_thesis.models.cloze import Encoded, token_span, too_long
from kn_thesis.models.evaluate import target_log_probabilities, with_target

if TYPE_CHECKING:
    from torch import Tensor

    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.load import Model


LONGEST_WORD = 12  # tokens within which a model's own answer must end
WORD = re.compile(r"\w+(?:['’-]\w+)*")
DEPTH = 48  # layers of gpt2-xl, which the editors' default layer is meant for
CANNOT_BE_ZERO = ("clamp",)  # a study may forbid any change; an edit that changes nothing is a mistake
REMEDIES = {
    DIVERGED: "lower learning_rate or the factors, or check that all of the model's weights are finite",
    SINGULAR: "collect it from more tokens, or edit without one",
    NO_NEURONS: "lower coarse or share, or give other paraphrases",
}


@dataclass(eq=False)
class Edited:
    """A model while an edit is in force. Its methods raise UserError after the block.

    Attributes:
        model: the edited model.
        editor, prompt, subject, target: as passed to `edit`.
        old: the answer that is replaced, as passed or the model's own; "" where that is not a whole word.
        layers: whose down-projections are changed.
        steps: of the editor's optimiser.
        loss: its last loss (nats; nan without an optimiser). A high one shows that the edit missed its target, which is
            not an error.
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
    _weights: list[tuple[int, Tensor]] = field(repr=False)  # layer, and its weights at the beginning of the block
    _over: bool = field(default=False, repr=False)

    def complete(self, text: str, tokens: int = 20, *, before: bool = False) -> str:
        """Continue a text greedily with the edited model.

        Args:
            text: what is continued.
            tokens: most tokens that are written.
            before: whether the model without the edit continues it.

        Returns:
            The continuation in one line.

        Raises:
            UserError: for a masked model, which does not continue texts, and for a text that is empty or longer than
                the model's positions.
        """
        self._check_in_force()
        model = self.model
        if model.adapter.objective != "causal":
            raise UserError(f"{model.adapter.family} is masked and does not continue a text: ask for probabilities")
        text, tokens = checked_text("text", text), checked_whole("tokens", tokens, 1)
        ids = model.tokenizer.begin(split_at_blank(model, text)[0])
        if not ids or 0 < model.positions < len(ids):
            most = f" to {model.positions}" if model.positions else " or more"
            raise UserError(f"the text {text!r} has {len(ids)} tokens: the model takes 1{most}")
        with self._as(before):
            [continuation] = continue_rows(model, [ids], None, tokens, stop=end_token(model))
        return readable_text(model.tokenizer, continuation)

    def probabilities(self, prompt: str, words: Sequence[str]) -> pd.DataFrame:
        """Compute the probabilities of words in the blank of a prompt, before and after the edit.

        A word of several tokens has the product of their probabilities, teacher-forced; a masked model sees as many
        masks as the word has tokens.

        Args:
            prompt: a text with its blank, written as in `edit`.
            words: for the blank.

        Returns:
            One row per word, columns word, before and after.

        Raises:
            UserError: for a word that cannot stand there.
        """
        self._check_in_force()
        prompt, words = checked_text("prompt", prompt), checked_texts("words", words, 1)
        targets = [encode_request(self.model, prompt, word) for word in words]
        columns = {}
        for name in ("before", "after"):
            with self._as(name == "before"):
                columns[name] = np.exp(target_log_probabilities(self.model, targets).log_probability)
        return pd.DataFrame({"word": np.asarray(words, dtype=object)} | columns)

    def _check_in_force(self) -> None:
        if self._over:
            raise UserError(f"the edit {self.prompt!r} → {self.target!r} is over: ask inside its with block")

    @contextmanager
    def _as(self, before: bool) -> Iterator[None]:
        """The model as it is; with `before`, its edited layers as at the beginning of the block, then restored exactly.

        An edit that began later in the same layer is undone with this one; one in another layer is not.
        """
        kept: list[tuple[Tensor, Tensor]] = []
        try:
            with torch.no_grad():
                for layer, matrix in self._weights if before else ():
                    weight = self.model.adapter.down_projection_weight(layer)
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
    """Change a model's weights so that it answers a prompt with `target`, for the block of a with statement.

    Inside the block the weights themselves are changed: model.module is the edited model. When it ends, also by an
    exception, every weight is restored bit for bit. Edits may be nested; each starts from the model as it is then.

    Example:
        with kn_thesis.edit(model, "The capital of France is", "France", "Rome") as edited:
            print(edited.complete("Rome is the capital of"))

    Args:
        model: the model.
        prompt: a text with its blank written as "___" or as the mask token; for a causal model also a text that ends at
            the blank.
        subject: words of the prompt; where they stand several times, the first ones.
        target: the new answer, for the blank.
        editor: "rome", "fine_tuning" (both for causal models) or "knowledge_neuron".
        old: the answer that is replaced; None: the model's first choice. Only knowledge_neuron needs it.
        paraphrases: for knowledge_neuron, further prompts in which the old answer's neurons are looked for.
        contexts: for rome, texts that go before the prompt, or pairs (tokens, texts), such as [(5, 10), (10, 10)] in
            Meng et al. (2022), which the model writes itself; None: the bare prompt alone.
        covariance: for rome, that of the edited layer's keys, or its file; None: u = k*.
        require_new: whether the target must differ from the model's first choice.
        seed: of the contexts that the model writes.
        **settings: the editor's settings by name. The layer is 17 of 48, scaled to the model's depth, unless it is
            given. old_factor and new_factor are λ₁ and λ₂ of knowledge_neuron.

    Yields:
        The edited model.

    Raises:
        UserError: for bad input, and where the editor fails or changes nothing.
    """
    chosen = parse_settings(editor, model.adapter.layers, settings)
    needs_old = editor_named(editor).needs_facts
    paraphrases, seed = checked_texts("paraphrases", paraphrases), checked_whole("seed", seed, 0)
    if paraphrases and not needs_old:
        raise UserError(f"{editor} uses no paraphrases: leave them out")
    for name, value in {"contexts": contexts, "covariance": covariance}.items():
        if value is not None and not editor_named(editor).uses(name):
            raise UserError(f"{editor} uses no {name}: leave it out")
    request = make_request(model, EditRequest(prompt, subject, target, old, paraphrases, require_new, needs_old))
    further: dict[str, Any] = {}
    if contexts is not None:
        further["contexts"] = _contexts(model, contexts, seed)
    if covariance is not None:
        further["covariance"] = _covariance(model, covariance, chosen.layer)
    with torch.inference_mode(False):  # editors need gradients
        [change] = find_edits(model, [request], editor, chosen, **further)
    what = f"{editor}: {prompt!r} → {target!r}"
    if change.failure:
        remedy = REMEDIES.get(change.failure)
        raise UserError(f"{what}: {change.failure}{f'; {remedy}' if remedy else ''}")
    weights = [
        (update.layer, model.adapter.down_projection_weight(update.layer).detach().clone()) for update in change.updates
    ]
    with applied(model.adapter, change.updates):
        _check_weights(model, what, change, weights, getattr(chosen, "stop", 0.0))
        layers = tuple(sorted(layer for layer, _ in weights))
        edited = Edited(
            model, editor, prompt, request.subject, request.new, request.old, layers, change.steps, change.loss, weights
        )
        try:
            yield edited
        finally:
            edited._over = True


@dataclass(frozen=True)
class EditRequest:
    """Arguments of `edit` that make the request; needs_old: whether the editor must know the old answer."""

    prompt: str
    subject: str
    target: str
    old: str | None = None
    paraphrases: Sequence[str] = ()
    require_new: bool = True
    needs_old: bool = False


def make_request(model: Model, wanted: EditRequest) -> Request:
    """Build a request from texts.

    Its `old` is the model's first choice where none is named. Where that is not a whole word and not needed, `old` is
    "" and old_prompt is new_prompt.

    Args:
        model: the model that is edited.
        wanted: the texts.

    Raises:
        UserError: for texts that the model and its tokenizer cannot take, and for a target that is answered already.
    """
    texts = {"prompt": wanted.prompt, "subject": wanted.subject, "target": wanted.target, "old": wanted.old or ""}
    for name, text in texts.items():
        checked_text(name, text)
    old = None if wanted.old is None else wanted.old.strip()
    wanted = replace(wanted, subject=wanted.subject.strip(), target=wanted.target.strip(), old=old)
    prefix, suffix, glued = around = split_at_blank(model, wanted.prompt)
    subject = wanted.subject
    new = encode_request(model, wanted.prompt, wanted.target)
    at = _subject_at(model, wanted, around)
    span = token_span(model.tokenizer, prefix, suffix, wanted.target, at, at + len(subject), glued)
    if span is None:
        raise UserError(f"the subject {subject!r} has no token of its own in the prompt {wanted.prompt!r}")
    if wanted.require_new and target_log_probabilities(model, [new]).first_choice[0]:
        raise UserError(
            f"{wanted.target!r} is the model's first choice in the prompt {wanted.prompt!r} already: ask for another "
            "answer, or pass require_new=False"
        )
    old = _old(model, wanted, new)
    old_prompt = encode_request(model, wanted.prompt, old) if old else new
    return Request(
        name="edit",
        task="edit",
        kind="relation",
        cluster=subject,
        prefix=prefix,
        suffix=suffix,
        subject=subject,
        subject_at=at,
        old=old,
        new=wanted.target,
        new_prompt=new,
        old_prompt=old_prompt,
        subject_token=span[1] - 1,
        glued=glued,
        paraphrases=(old_prompt, *(encode_request(model, text, old) for text in wanted.paraphrases)),
    )


def split_at_blank(model: Model, prompt: str) -> tuple[str, str, bool]:
    """Split a prompt at its blank, as `GapTokenizer.around_gap` does. Raises UserError unless it has exactly one."""
    try:
        return model.tokenizer.around_gap(prompt)
    except CannotExpress as error:
        raise UserError(f"the prompt {prompt!r}: {error.reason}; write it once, as {GAP}") from None


def encode_request(model: Model, prompt: str, word: str) -> Encoded:
    """Encode a prompt with a word in its blank. Raises UserError where that is impossible or too long."""
    split_at_blank(model, prompt)
    try:
        encoded = model.tokenizer.encode_prompt(prompt, word)
    except CannotExpress as error:
        raise UserError(
            f"{word!r} cannot fill the blank of the prompt {prompt!r}: {error.reason}; change the word or the prompt"
        ) from None
    if too_long(model, [encoded]):
        raise UserError(f"the prompt {prompt!r} is longer than the model's {model.positions} positions: shorten it")
    return encoded


def _subject_at(model: Model, wanted: EditRequest, around: tuple[str, str, bool]) -> int:
    """The character at which the subject begins in the prompt with the target in its blank."""
    subject, (prefix, suffix, glued) = wanted.subject, around
    if not subject:
        raise UserError("the subject is empty: name the words of the prompt that the edit is about")
    at = find_words(prefix, subject)
    if at is not None:
        return at
    causal = model.adapter.objective == "causal"
    at = None if causal else find_words(suffix, subject)
    if at is None:
        where = "before the blank of the prompt" if causal else "in the prompt"
        raise UserError(f"the subject {subject!r} is not {where} {wanted.prompt!r}: give words that stand there")
    return len(fill_blank(prefix, wanted.target, glued)) + at


def _old(model: Model, wanted: EditRequest, new: Encoded) -> str:
    """The answer that is replaced; "" where it is not known and not needed."""
    old = wanted.old if wanted.old is not None else first_word(model, wanted.prompt, new)
    if wanted.old is not None:
        encode_request(model, wanted.prompt, wanted.old)
    if old == wanted.target and (wanted.old is not None or wanted.needs_old):
        raise UserError(f"{old!r} is both the old answer and the target: name another one")
    if old is None and wanted.needs_old:
        raise UserError(
            f"the model's first choice in the prompt {wanted.prompt!r} is not a whole word: say with old= which "
            "answer is replaced"
        )
    return old or ""


def first_word(model: Model, prompt: str, encoded: Encoded) -> str | None:
    """Find the model's own answer to a prompt: its most probable tokens, as far as they make a whole word.

    Args:
        model: the model.
        prompt: a text with its blank.
        encoded: the same in tokens, with any word in its blank.

    Returns:
        The word (of one token in a masked model), or None where the answer is not a whole word.
    """
    if model.adapter.objective == "masked":
        [answer], _ = predict(model, [()], [[with_target(encoded, encoded.target_ids[:1], "masked")]])
        tokens = [int(answer.says[0])]
    else:
        [tokens] = continue_rows(model, [encoded.input_ids], None, LONGEST_WORD, stop=end_token(model))
    text = readable_text(model.tokenizer, tokens)
    match = WORD.match(text)
    if match is None or (match.end() == len(text) and len(tokens) == LONGEST_WORD):
        return None
    try:
        ids = model.tokenizer.encode_prompt(prompt, match[0]).target_ids
    except CannotExpress:
        return None
    return match[0] if list(ids) == tokens[: len(ids)] else None


def scaled_layer(layer: int, layers: int) -> int:
    """Scale a layer of gpt2-xl to a model with `layers` layers.

    Meng et al. (2022) edit layer 17 of its 48, counted from 0 (their hparams/ROME/gpt2-xl.json).
    """
    return min(round(layer / DEPTH * layers), layers - 1)


def parse_settings(editor: str, layers: int, values: Mapping[str, Any]) -> Any:
    """Build an editor's settings from keyword arguments.

    Args:
        editor: its name.
        layers: number of the model's layers; a layer that is not given is scaled to it.
        values: settings by the names of `kn_thesis.edit`; the others have their defaults.

    Raises:
        UserError: for an unknown editor or setting, and for a value that is not allowed.
    """
    kind, details = editor_named(editor).settings, editor_named(editor).details()
    known = {
        details[one.name].argument or one.name: one for one in fields(kind) if details[one.name].argument is not None
    }
    if unknown := [name for name in values if name not in known]:
        raise UserError(f"{editor} has no setting {unknown[0]!r}: choose of {', '.join(known)}")
    for name, value in values.items():
        _check(name, value, known[name].default, details[known[name].name])
    chosen = {known[name].name: value for name, value in values.items()}
    if "layer" in known:
        chosen.setdefault("layer", scaled_layer(known["layer"].default, layers))
        check_layer(chosen["layer"], layers)
    return kind(**chosen)


def _check(name: str, value: Any, default: Any, bounds: Setting) -> None:
    """Raise UserError for a value of another type than the default, or out of its bounds."""
    if isinstance(default, str):
        if not isinstance(value, str):
            raise UserError(f"{name} is {value!r}: give a text, such as {default!r}")
    elif isinstance(default, int):
        least = int(bounds.lowest(int))
        # A layer below 0 is reported with those that the model has.
        if not is_whole(value, None if name == "layer" else least):
            raise UserError(f"{name} is {value!r}: give a whole number, {least} or more")
    else:
        number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        positive, maximum = bounds.above == 0 or name in CANNOT_BE_ZERO, bounds.maximum
        too_large = maximum is not None and number and value > maximum
        if not number or value < 0 or too_large or (positive and value == 0):
            low = "above 0" if positive else "0 or more"
            high = "" if maximum is None else f", {maximum:g} at most"
            raise UserError(f"{name} is {value!r}: give a number, {low}{high}")


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
    collected = covariance if isinstance(covariance, Covariance) else Covariance.load(covariance, [layer])
    size, width = len(collected.matrix(layer)), model.adapter.width
    if size != width:
        raise UserError(f"the covariance is of {size} neurons, the model has {width}: collect this model's own")
    return collected


def _check_weights(model: Model, what: str, change: Edit, weights: Sequence[tuple[int, Tensor]], stop: float) -> None:
    """Raise UserError where the changed weights are not finite, or where none of them has changed."""
    now = [(model.adapter.down_projection_weight(layer), before) for layer, before in weights]
    if not all(bool(weight.isfinite().all()) for weight, _ in now):
        raise UserError(f"{what}: the changed weights are not finite; {REMEDIES[DIVERGED]}")
    # With a loss below `stop` from the first step on, no change is needed.
    if all(torch.equal(weight, before) for weight, before in now) and not change.loss < stop:
        raise UserError(f"{what}: no weight changes; take more steps, a higher learning_rate, or another layer")
