"""An editor as a study configures it, ready to find edits in one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.editing.contexts import write_contexts
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.editors import find_edits, settings_of

if TYPE_CHECKING:
    from kn_thesis.editing.request import Request
    from kn_thesis.editing.update import Edit
    from kn_thesis.models.load import Model

FindEdits = Callable[[Sequence["Request"]], list["Edit"]]


def configured_editor(
    model: Model, chosen: Mapping[str, Any], covariance: str | Path | None, seed: int, batch_tokens: int
) -> FindEdits:
    """What finds the edits of some requests; the contexts, which the model writes by itself, are printed.

    chosen: method, its settings, and where it has any contexts and their beginnings; whether it uses a covariance,
    whose file is `covariance`.
    """
    settings = dict(chosen)
    method, lengths, uses = settings.pop("method"), settings.pop("contexts", []), settings.pop("covariance")
    contexts = write_contexts(model, lengths, seed, settings.pop("beginnings", ()))
    for context in contexts:
        print(f"context: {context}")
    return partial(
        find_edits,
        model,
        editor=method,
        settings=settings_of(method, batch_tokens, **settings),
        contexts=contexts,
        covariance=Covariance.load(covariance) if uses and covariance else None,
    )
