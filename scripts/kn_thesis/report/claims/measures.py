"""The measures that resources/claims.yaml names, and how each is combined over models and turned into evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kn_thesis.report.claims import edited, localized, suppressed
from kn_thesis.report.claims.estimates import Estimate, combined, evidence


class Measure(NamedTuple):
    """estimate: (tables, model, fewest, **arguments of the part) → Estimate; combine: over models; weigh: (estimate,
    side, bound) → p-values for and against."""

    estimate: Callable[..., Estimate]
    combine: Callable[[Sequence[Estimate]], Estimate] = combined
    weigh: Callable[[Estimate, str, float], tuple[float, float]] = evidence


MEASURES: Mapping[str, Measure] = {
    "neuron_share": Measure(localized.neuron_share),
    "neurons_above_chance": Measure(localized.neurons_above_chance),
    "kinds_apart": Measure(localized.kinds_apart),
    "layer_overlap": Measure(localized.layer_overlap),
    "likeness_of_numbers": Measure(localized.likeness_of_numbers),
    "word_change": Measure(suppressed.word_change),
    "overturned": Measure(suppressed.overturned),
    "company_slope": Measure(suppressed.company_slope),
    "changed_company": Measure(suppressed.changed_company),
    "criterion": Measure(edited.criterion),
    "two_sites": Measure(
        edited.two_sites, edited.sites_together, lambda estimate, side, bound: edited.sites_evidence(estimate)
    ),
}
