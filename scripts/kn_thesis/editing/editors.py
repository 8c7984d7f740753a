"""Editors by name, and how one is used: `with edit(model, request, "rome", settings): …`.

To add one, write a module with

1. `Settings`, a frozen dataclass of its hyperparameters, every one with a default;
2. `find_edits(model, requests, settings) -> list[Edit]`: the change of value matrices that each request needs, many
   requests at once, failures said and not raised (see `update.Edit`); with keyword arguments `contexts` and
   `covariance` when it can use them;

and enter it in EDITORS. Its settings then stand in the configuration under its name.
resources/examples/editor/ is a whole example, done step by step in the README.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from kn_thesis.editing import fine_tuning, knowledge_neuron, rome
from kn_thesis.editing.update import Edit, applied
from kn_thesis.errors import UserError
from kn_thesis.given_values import in_one_line

if TYPE_CHECKING:
    from kn_thesis.editing.covariance import Covariance
    from kn_thesis.editing.request import Request
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Editor:
    """An editor's settings and its function."""

    settings: type
    find: Callable[..., list[Edit]]

    def uses(self, name: str) -> bool:
        """Whether its function takes `name`: contexts, or covariance."""
        return name in inspect.signature(self.find).parameters


EDITORS = {
    module.__name__.rsplit(".", 1)[1]: Editor(module.Settings, module.find_edits)
    for module in (rome, knowledge_neuron, fine_tuning)
}


def find_edits(
    model: Model,
    requests: Sequence[Request],
    editor: str,
    settings: Any = None,
    *,
    contexts: Sequence[str] = (),
    covariance: Covariance | None = None,
) -> list[Edit]:
    """What an editor would change for each request, in order; the model is left as it is.

    settings: the editor's own, its defaults if None. contexts, covariance: for editors that use them.
    Raises UserError for an unknown editor, or one that cannot edit this model.
    """
    chosen = editor_named(editor)
    offered = {"contexts": contexts, "covariance": covariance}
    further = {name: value for name, value in offered.items() if chosen.uses(name)}
    return chosen.find(model, requests, settings or chosen.settings(), **further)


def settings_of(editor: str, batch_tokens: int, **values: Any) -> Any:
    """An editor's settings; `batch_tokens` (most rows × tokens in memory at once) where it has such a limit."""
    kind = editor_named(editor).settings
    limit = {"batch_tokens": batch_tokens} if "batch_tokens" in {field.name for field in fields(kind)} else {}
    return kind(**values, **limit)


def editor_named(name: str) -> Editor:
    """The editor with this name; raises UserError when there is none."""
    if not isinstance(name, str) or name not in EDITORS:
        raise UserError(f"unknown editor {in_one_line(name)}: choose one of {', '.join(EDITORS)}")
    return EDITORS[name]


@contextmanager
def edit(model: Model, request: Request, editor: str, settings: Any = None, **further: Any) -> Iterator[Edit]:
    """The model with one edit; leaving, also by an exception, brings every weight back bit for bit.

    `further`: contexts and covariance, as in `find_edits`. Raises UserError when the edit fails, naming the reason.
    """
    [found] = find_edits(model, [request], editor, settings, **further)
    if found.failure:
        raise UserError(f"{request.text!r} → {request.new!r}: the edit failed: {found.failure}")
    with applied(model.adapter, found.updates):
        yield found
