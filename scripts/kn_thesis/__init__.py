"""Methods of the knowledge-neuron study: plain functions on models, arrays and data frames.

import kn_thesis

model = kn_thesis.load_model("results/models/bert")
attribution = kn_thesis.attribute(model, ["___ old kings smile."], ["these"])
neurons = kn_thesis.select_neurons(attribution.scores, ["these"])
changes = kn_thesis.suppress(model, ["___ old kings smile."], neurons, ["these", "this", "scattered"])
kn_thesis.trace(model, "___ old kings smile.", "kings", "these", foil="this", kind="mlp").plot().savefig("trace.png")
with kn_thesis.edit(model, "___ old kings smile.", "kings", "this", editor="knowledge_neuron") as edited:
    print(edited.probabilities("___ old kings sing.", ["these", "this"]))
"""

from typing import Any

# Names and where they are. They are imported at first use: torch alone takes a second. No import statement stands
# here, for this file is part of every module of the package, and so every rule would depend on all of them; what
# editors and type checkers read is in __init__.pyi.
_WHERE = {
    "Attribution": "kn_thesis.localization.results",
    "Edited": "kn_thesis.editing.library",
    "Trace": "kn_thesis.tracing.library",
    "UserError": "kn_thesis.errors",
    "attribute": "kn_thesis.localization.attribution",
    "edit": "kn_thesis.editing.library",
    "load_model": "kn_thesis.models.load",
    "select_neurons": "kn_thesis.localization.selection",
    "suppress": "kn_thesis.suppression.library",
    "trace": "kn_thesis.tracing.library",
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
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'kn_thesis' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted({*globals(), *__all__})
