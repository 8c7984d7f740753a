"""Find, suppress, trace and edit knowledge neurons in language models.

Example::

    import kn_thesis

    model = kn_thesis.load_model("results/models/bert")
    attribution = kn_thesis.attribute(model, ["___ old kings smile."], ["these"])
    neurons = kn_thesis.select_neurons(attribution.scores, ["these"])
    changes = kn_thesis.suppress(model, ["___ old kings smile."], neurons, ["these", "this", "scattered"])
    trace = kn_thesis.trace(model, "___ old kings smile.", "kings", "these", foil="this", kind="mlp")
    trace.plot().savefig("trace.png")
    with kn_thesis.edit(model, "___ old kings smile.", "kings", "this", editor="knowledge_neuron") as edited:
        print(edited.probabilities("___ old kings sing.", ["these", "this"]))
"""

from typing import Any

# The module of each public name. Names are imported at first use, because importing torch takes a second. There are no
# import statements here: this file belongs to every module of the package, so every rule would depend on everything
# imported here (kn_thesis.code_hash). Editors and type checkers read __init__.pyi.
_WHERE = {
    "Attribution": "kn_thesis.localization.tables",
    "Edited": "kn_thesis.editing.api",
    "Trace": "kn_thesis.tracing.api",
    "UserError": "kn_thesis.errors",
    "attribute": "kn_thesis.localization.attribution",
    "edit": "kn_thesis.editing.api",
    "load_model": "kn_thesis.models.load",
    "select_neurons": "kn_thesis.localization.selection",
    "suppress": "kn_thesis.suppression.api",
    "trace": "kn_thesis.tracing.api",
}
__all__ = [
    "Attribution",
    "Edited",
    "Trace",
    "UserError",
    "attribute",
    "edit",
    "load_model",
    "select_neurons",
    "suppress",
    "trace",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'kn_thesis' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List public names, whether imported yet or not."""
    return sorted({*globals(), *__all__})
