"""How an editor declares its settings and its properties.

The configuration reads both while Snakemake parses the workflow: in every job, and where there may be no PyTorch. So
this module and the modules of editors import what needs PyTorch or pandas inside functions only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.adapter import Adapter


_KEY = "setting"  # of a dataclass field's metadata


@dataclass(frozen=True)
class Setting:
    """What is known of one hyperparameter beside its type and its default.

    Attributes:
        description: shown by editors that read the JSON schema.
        minimum, above, maximum, below: bounds; a whole number without a lower one is at least 1, another at least 0.
        choices: the texts that a setting of type str may have.
        scope: where the value stands in the configuration: "family", one for each family of models; "editor", one for
            all of them; "study", at `source`, outside the editor's section; "none", nowhere.
        source: section and key of a value of the study, such as ("selection", "coarse").
        argument: name in `kn_thesis.edit`, "" for the field's own; None: a single edit does not use it.
    """

    description: str = ""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    scope: Literal["family", "editor", "study", "none"] = "family"
    source: tuple[str, str] | None = None
    argument: str | None = ""

    def lowest(self, kind: type) -> float:
        """The least allowed value of a setting of type int or float, unless a bound is exclusive."""
        return self.minimum if self.minimum is not None else 1 if kind is int else 0


_LIMIT = Setting(scope="none")  # a limit of memory: no result depends on it


def setting(default: Any, description: str, **details: Any) -> Any:
    """Declare a hyperparameter in an editor's settings, as `layer: int = setting(17, "…", below=1000)`.

    Args:
        default: its value where the configuration gives none.
        description: for the JSON schema.
        **details: further fields of `Setting`.
    """
    return field(default=default, metadata={_KEY: Setting(description, **details)})


def study_setting(default: Any, section: str, key: str, **details: Any) -> Any:
    """Declare a hyperparameter whose value the configuration has in another section, under `key`."""
    return field(default=default, metadata={_KEY: Setting(scope="study", source=(section, key), **details)})


@dataclass(frozen=True)
class Editor:
    """An editor: its name, its settings, its function, and what other parts of the study must know about it.

    The setting `layer` is the one layer that is edited; `layers`, if there is one, are several.

    Attributes:
        name: of the method in the configuration, tables and paths.
        settings: frozen dataclass with a default for every field. Fields declared with `setting` stand in the
            configuration; `batch_tokens` is the limit of rows × tokens in memory at once, if there is one.
        find: `find(model, requests, settings)` returns one `weight_update.Edit` for each request, in order, and leaves
            the model as it is. An edit that fails says so in `Edit.failure`. It may take the keyword arguments
            `contexts` and `covariance`: then the configuration has entries for them.
        title: what the method is called in descriptions of its settings.
        publication: where it was published.
        joint: whether a request's edit depends on the other requests of its task. All of them are then given to one
            job; without this a task may be split over jobs.
        needs_facts: whether it must know the old answer, and looks for it in paraphrases of the request.
        whole_matrix: whether an edit is a matrix of the size of the down-projection, and not of low rank.
        swept: whether the sweep over layers can use it (`task.sweep_layers` edits with ROME).
    """

    name: str
    settings: type
    find: Callable[..., list[Edit]]
    title: str
    publication: str
    joint: bool = True
    needs_facts: bool = False
    whole_matrix: bool = False
    swept: bool = False

    def uses(self, argument: str) -> bool:
        """Whether its function takes `contexts` or `covariance`."""
        return argument in inspect.signature(self.find).parameters

    def details(self) -> dict[str, Setting]:
        """What is known of each of its settings, by the names of their fields."""
        return {one.name: one.metadata.get(_KEY, _LIMIT) for one in fields(self.settings)}

    def study_settings(self) -> dict[str, tuple[str, str]]:
        """Section and key of each setting that the configuration has outside the editor's own section."""
        return {name: one.source for name, one in self.details().items() if one.source}

    def edited_layers(self, values: Mapping[str, Any]) -> list[int] | None:
        """The layers that are edited with these settings; None where the editor looks for them."""
        return list(values["layers"]) if "layers" in values else [values["layer"]] if "layer" in values else None


def check_causal(editor: str, adapter: Adapter) -> None:
    """Raise UserError for a masked model."""
    if adapter.objective != "causal":
        raise UserError(f"{editor} edits causal models: {adapter.family} is masked; choose knowledge_neuron")


def check_layer(layer: int, layers: int) -> None:
    """Raise UserError for a layer that a model with `layers` layers does not have."""
    if not 0 <= layer < layers:
        raise UserError(f"layer {layer} is not there: the model has layers 0 to {layers - 1}")
