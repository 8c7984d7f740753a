"""Edit a model by an editor's name: `with edit(model, request, "rome", settings): …`.

To add an editor, write a module with

1. `Settings`, a frozen dataclass of its hyperparameters, declared with `settings.setting`: the configuration validates
   them by it;
2. `find_edits(model, requests, settings)`, which returns the change of down-projections that each request needs (see
   `weight_update.Edit`); what needs PyTorch is imported inside it;
3. `EDITOR`, which says what else is to be known of it (see `settings.Editor`);

and enter the module in EDITORS. resources/examples/editor/ is a whole example, done step by step in
docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.editing import fine_tuning, knowledge_neuron, rome
from kn_thesis.editing.settings import Editor
from kn_thesis.errors import UserError
from kn_thesis.inputs import in_one_line

if TYPE_CHECKING:
    from kn_thesis.editing.covariance import Covariance
    from kn_thesis.editing.requests import Request
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.load import Model


MODULES = (rome, knowledge_neuron, fine_tuning)
EDITORS: dict[str, Editor] = {module.EDITOR.name: module.EDITOR for module in MODULES}
FindEdits = Callable[[Sequence["Request"]], list["Edit"]]


def editor_named(name: str) -> Editor:
    """The editor with this name. Raises UserError when there is none."""
    if not isinstance(name, str) or name not in EDITORS:
        raise UserError(f"unknown editor {in_one_line(name)}: choose one of {', '.join(EDITORS)}")
    return EDITORS[name]


def settings_of(editor: str, batch_tokens: int, **values: Any) -> Any:
    """Build an editor's settings.

    Args:
        editor: its name.
        batch_tokens: most rows × tokens in memory at once, for settings that have such a limit.
        **values: hyperparameters; the others have their defaults.

    Raises:
        UserError: for an unknown editor.
    """
    kind = editor_named(editor).settings
    limit = {"batch_tokens": batch_tokens} if "batch_tokens" in {field.name for field in fields(kind)} else {}
    return kind(**values, **limit)


def find_edits(
    model: Model,
    requests: Sequence[Request],
    editor: str,
    settings: Any = None,
    *,
    contexts: Sequence[str] = (),
    covariance: Covariance | None = None,
) -> list[Edit]:
    """Find what an editor would change for each request; the model is left as it is.

    Args:
        model: the model.
        requests: what is edited.
        editor: name of an editor.
        settings: of the editor's own class; None: its defaults.
        contexts: texts that go before prompts, for editors that use them.
        covariance: of the keys of the edited layer, for editors that use it.

    Returns:
        One edit per request, in order.

    Raises:
        UserError: for an unknown editor, or one that cannot edit this model.
    """
    chosen = editor_named(editor)
    offered = {"contexts": contexts, "covariance": covariance}
    further = {name: value for name, value in offered.items() if chosen.uses(name)}
    return chosen.find(model, requests, settings or chosen.settings(), **further)


@contextmanager
def edit(model: Model, request: Request, editor: str, settings: Any = None, **further: Any) -> Iterator[Edit]:
    """Put one edit into a model's weights; leaving, also by an exception, brings every one of them back bit for bit.

    Args:
        model: the model.
        request: what is edited.
        editor: name of an editor.
        settings: of the editor's own class; None: its defaults.
        **further: contexts and covariance, as in `find_edits`.

    Yields:
        The edit that is in force.

    Raises:
        UserError: when the edit fails; it names the reason.
    """
    from kn_thesis.editing.weight_update import applied

    [change] = find_edits(model, [request], editor, settings, **further)
    if change.failure:
        raise UserError(f"{request.text!r} → {request.new!r}: the edit failed: {change.failure}")
    with applied(model.adapter, change.updates):
        yield change


def configured_editor(
    model: Model, configuration: Mapping[str, Any], covariance: str | Path | None, seed: int, batch_tokens: int
) -> FindEdits:
    """Make an editor, as a study configures it, ready to find edits in one model.

    The contexts, which the model writes itself, are printed.

    Args:
        model: the model.
        configuration: `method` and its settings; `contexts` and `beginnings` where it has any; `covariance`, whether it
            uses one.
        covariance: file of the covariance, if it uses one.
        seed: of the contexts.
        batch_tokens: most rows × tokens in memory at once.

    Returns:
        A function that finds the edits of some requests.
    """
    from kn_thesis.editing.covariance import Covariance
    from kn_thesis.editing.generation import write_contexts

    settings = dict(configuration)
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
