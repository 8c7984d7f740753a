"""Judge the claims: from the study's tables to verdicts, by the rule at the head of resources/claims.yaml.

`judge` estimates every part of every claim in every model, derives p-values for and against each claim, corrects them
over claims (Holm) and over the variants of a method that do not lead (Bonferroni), and does the same over models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kn_thesis.editing.labels import editors_of, select_rows
from kn_thesis.errors import UserError
from kn_thesis.models.demands import drop_unlearned, unlearned_tasks
from kn_thesis.report.claims.estimates import Estimate, missing
from kn_thesis.report.claims.labels import OVER_MODELS
from kn_thesis.report.claims.measures import MEASURES, VALUES
from kn_thesis.report.claims.rules import Claim, Part, Rules
from kn_thesis.stats import holm

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
OPPOSITE = {SUPPORTED: NOT_SUPPORTED, NOT_SUPPORTED: SUPPORTED}
HOLDS = {(True, False): "yes", (False, True): "no"}
FEWEST_MODELS = 2  # that were asked a claim, for a verdict over models
NUMBERS = ["unit", "units", "effect", "low", "high", "side", "bound", "form", "published", "published_text", "place"]
CLAIM_COLUMNS = ["claim", "says", "chapter", "model", "family", "variant", "headline", "verdict", "deciding", "part"]
CLAIM_COLUMNS += ["measure", *NUMBERS, "test", "p_for", "p_against", "p_for_holm", "p_against_holm", "asked", "note"]
PART_COLUMNS = ["claim", "part", "model", "family", "variant", "headline", "says", *NUMBERS, "test"]
PART_COLUMNS += ["p_for", "p_against", "holds", "note"]


@dataclass
class Case:
    """A claim in one model (or over models), judged by one variant of its method.

    Attributes:
        claim: the claim.
        model: the model, or `all`.
        variant: the editor that the claim is judged by; "" for a claim that is not about edits.
        estimates: one per part.
        tails: p-values for and against each part.
        variants: number of cases that share the correction: 1 for the leading variant, else all others of the model.
        headline: whether this variant leads.
        p_for_holm: corrected p-value for the claim.
        p_against_holm: corrected p-value against the claim.
        verdict: one of SUPPORTED, NOT_SUPPORTED, UNDECIDED.
        note: what a reader of the verdict should know.
    """

    claim: Claim
    model: str
    variant: str
    estimates: list[Estimate]
    tails: list[tuple[float, float]]
    variants: int = 1
    headline: bool = True
    p_for_holm: float = math.nan
    p_against_holm: float = math.nan
    verdict: str = UNDECIDED
    note: str = ""

    @property
    def applicable(self) -> list[int]:
        """Positions of the parts that the study can ask of this model."""
        return [number for number, one in enumerate(self.estimates) if not (one.note and not one.units)]

    @property
    def asked(self) -> bool:
        """Whether all parts that the claim needs were asked; without one of them there is no verdict."""
        needed = {number for number, part in enumerate(self.claim.parts) if part.needed}
        return bool(self.applicable) and needed <= set(self.applicable)

    @property
    def p(self) -> tuple[float, float]:
        """P-values for the claim and against it, before Holm's correction; nan if a part has none or was not asked."""
        if not self.asked:
            return math.nan, math.nan
        tails = [self.tails[number] for number in self.applicable]
        fors, againsts = [tail[0] for tail in tails], [tail[1] for tail in tails if not math.isnan(tail[1])]
        weakest = max(fors) if fors and not any(map(math.isnan, fors)) else math.nan
        strongest = _times(min(againsts), len(tails)) if againsts else math.nan
        return _times(weakest, self.variants), _times(strongest, self.variants)

    @property
    def deciding(self) -> int:
        """Position of the part that decides the verdict: the weakest link, or the one that contradicts most."""
        parts = self.applicable or [0]
        if self.verdict == NOT_SUPPORTED:
            return min(parts, key=lambda number: _last(self.tails[number][1]))
        return max(parts, key=lambda number: _last(self.tails[number][0]))


def judge(
    rules: Rules,
    tables: Mapping[str, pd.DataFrame],
    published: Mapping[str, Any],
    families: Mapping[str, str],
    together: Sequence[str],
    inverses: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge all claims in all models and over models.

    Tasks that a model has not learned as demanded (models.csv) are no evidence. They are left out, and named in `note`.

    Args:
        rules: the claims.
        tables: the tables that the claims read, and `models`, by name.
        published: resources/published.yaml.
        families: family of each model, in order.
        together: the models that are combined. Models of other worlds are judged, but do not replicate these.

        inverses: relations that state another one's facts the other way round, with that relation.

    Returns:
        claims.csv and claim_parts.csv.

        claims.csv has a row per claim, model (`all`: over models) and variant: claim (number), says, chapter, model,
        family, variant (the editor that the claim is judged by; over models, all of theirs), headline (whether this
        variant leads), verdict, deciding (the part that decides it). Then, for the part that stands for the claim:
        part, measure (in words), unit, units (their number), effect with its 95 % interval (low, high) in the unit
        that `measure` names (shares from 0 to 1), side and bound (where the claim has it), form (how it is written),
        published (number) or published_text, place, test. Then, for the whole claim: p_for and p_against before Holm's
        correction over the model's claims, p_for_holm and p_against_holm after it, asked, note.

        claim_parts.csv has the same for each part, with the part's own uncorrected p-values, and `holds`: whether the
        part holds at the level ("yes", "no", "open").

    Raises:
        UserError: a claim names a table or a measure that does not exist.
    """
    _check(rules, tables)
    if "editing" in tables:
        editing = tables["editing"]
        tables = {**tables, "editing": editing.assign(facts=editing["task"].replace(dict(inverses or {})))}
    # models.csv, and tables without a column `task`, stay complete.
    by_task = {name: one for name, one in tables.items() if name != "models" and {"model", "task"} <= set(one)}
    failed = unlearned_tasks(tables["models"])
    tables = {**tables, **{name: drop_unlearned(one, tables["models"]) for name, one in by_task.items()}}
    cases = {
        model: [case for claim in rules.claims for case in _cases(claim, tables, model, rules)] for model in families
    }
    for part in cases.values():
        _correct(part, rules.level)
    over = [_together(claim, [case for model in together for case in cases.get(model, [])]) for claim in rules.claims]
    _correct([case for case, _ in over], rules.level)
    for case, verdicts in over:
        if OPPOSITE.get(case.verdict) in verdicts:
            case.note = f"{case.verdict} together, but not in every model"
            case.verdict = UNDECIDED
    every = [case for case, _ in over] + [case for part in cases.values() for case in part]
    every.sort(key=lambda case: case.claim.number)  # stable: over models first, then the models in order
    members = {OVER_MODELS: [model for model in together if model in cases]}
    left_out = [_left_out(case.claim, by_task, failed, members.get(case.model, [case.model])) for case in every]
    claims = [_claim_row(case, families, published, note) for case, note in zip(every, left_out, strict=True)]
    parts = [row for case in every for row in _part_rows(case, families, published, rules.level)]
    return pd.DataFrame(claims, columns=CLAIM_COLUMNS), pd.DataFrame(parts, columns=PART_COLUMNS)


def _check(rules: Rules, tables: Mapping[str, pd.DataFrame]) -> None:
    for claim in rules.claims:
        where = f"resources/claims.yaml, claim {claim.number}"
        if absent := [name for name in claim.reads if name not in tables]:
            raise UserError(f"{where}: there is no table {absent[0]}.csv to read; correct the claim's `reads`")
        for part in claim.parts:
            if part.measure not in MEASURES:
                raise UserError(
                    f"{where}, {part.name}: there is no measure {part.measure!r}; use one of {', '.join(MEASURES)}"
                )


def _cases(claim: Claim, tables: Mapping[str, pd.DataFrame], model: str, rules: Rules) -> Iterator[Case]:
    """A claim in one model, once for each variant of its method, the leading variant first."""
    own = {name: tables[name] for name in claim.reads}
    variants = _variants(claim, tables, model)
    if claim.method and not variants:
        nothing = missing(f"nothing is edited with {claim.method} in this model")
        yield Case(claim, model, "", [nothing] * len(claim.parts), [(math.nan, math.nan)] * len(claim.parts))
        return
    cases = [_case(claim, own, model, variant, rules) for variant in variants or [""]]
    # The editor that bears the method's name leads, whether or not its edits take; without one, the study's first.
    first = next((case for case in cases if case.variant == claim.method), cases[0])
    for case in cases:
        case.headline = case is first
        case.variants = 1 if case.headline else len(cases) - 1
    yield from sorted(cases, key=lambda case: not case.headline)


def _variants(claim: Claim, tables: Mapping[str, pd.DataFrame], model: str) -> list[str]:
    return (
        editors_of(select_rows(tables["editing"], model=model, kind=claim.kind), claim.method) if claim.method else []
    )


def _case(claim: Claim, tables: Mapping[str, pd.DataFrame], model: str, variant: str, rules: Rules) -> Case:
    editor = {"editor": variant} if variant else {}
    estimates = [
        MEASURES[part.measure].estimate(tables, model, rules.fewest, **part.of, **editor) for part in claim.parts
    ]
    return Case(claim, model, variant, estimates, _tails(claim, estimates))


def _tails(claim: Claim, estimates: Sequence[Estimate]) -> list[tuple[float, float]]:
    """P-values for and against each part."""
    both = zip(claim.parts, estimates, strict=True)
    return [MEASURES[part.measure].weigh(estimate, part.side, part.bound) for part, estimate in both]


def _together(claim: Claim, cases: Sequence[Case]) -> tuple[Case, list[str]]:
    """A claim over models, from the leading case of each model that was asked it, and their verdicts."""
    leading = [case for case in cases if case.claim is claim and case.headline and case.asked]
    if len(leading) < FEWEST_MODELS:
        models = ", ".join(case.model for case in leading) or "no model"
        nothing = missing(f"{models} was asked all that it needs; a verdict over models needs {FEWEST_MODELS}")
        estimates = [nothing] * len(claim.parts)
    else:
        estimates = [
            MEASURES[part.measure].combine([case.estimates[number] for case in leading])
            for number, part in enumerate(claim.parts)
        ]
    variants = list(dict.fromkeys(case.variant for case in leading if case.variant))
    over = Case(claim, OVER_MODELS, " ".join(variants), estimates, _tails(claim, estimates))
    return over, [case.verdict for case in leading]


def _correct(cases: Sequence[Case], level: float) -> None:
    """Set corrected p-values and verdicts: Holm over the leading cases, Bonferroni for the other variants.

    Claims without a p-value count as well, so that asking less does not correct less.
    """
    leading = [case for case in cases if case.headline]
    both = [holm([_last(case.p[side]) for case in leading]) for side in (0, 1)]
    for case, *corrected in zip(leading, *both, strict=True):
        known = (math.nan if math.isnan(p) else float(q) for p, q in zip(case.p, corrected, strict=True))
        case.p_for_holm, case.p_against_holm = known
    for case in cases:
        if not case.headline:
            case.p_for_holm, case.p_against_holm = (_times(p, len(leading)) for p in case.p)
        agree = (case.p_for_holm < level, case.p_against_holm < level)
        case.verdict = {(True, False): SUPPORTED, (False, True): NOT_SUPPORTED}.get(agree, UNDECIDED)


def _left_out(claim: Claim, by_task: Mapping[str, pd.DataFrame], failed: pd.DataFrame, models: Sequence[str]) -> str:
    """Name the tasks of a claim's tables that these models have not learned; "" if there are none."""
    failures = []
    for model in models:
        own = failed.loc[failed["model"] == model, "task"]
        read = [by_task[name] for name in claim.reads if name in by_task]
        present = {task for one in read for task in select_rows(one, model=model)["task"]}
        tasks = [task for task in dict.fromkeys(own) if task in present]
        failures += [f"{model}, {', '.join(tasks)}"] if tasks else []
    return f"left out, not learned: {'; '.join(failures)}" if failures else ""


def _claim_row(case: Case, families: Mapping[str, str], published: Mapping[str, Any], left_out: str) -> dict[str, Any]:
    names = [part.name for part in case.claim.parts]
    place = names.index(case.claim.shown) if case.claim.shown else 0
    part, estimate = case.claim.parts[place], case.estimates[place]
    notes = [
        case.note,
        left_out,
        *(f"{case.claim.parts[n].name}: {one.note}" for n, one in enumerate(case.estimates) if one.note),
    ]
    return (
        {"claim": case.claim.number, "says": case.claim.says, "chapter": case.claim.chapter, "model": case.model}
        | {"family": families.get(case.model, ""), "variant": case.variant, "headline": case.headline}
        | {"verdict": case.verdict, "deciding": names[case.deciding], "part": part.name, "measure": part.says}
        | _numbers(part, estimate, published)
        | {"p_for": case.p[0], "p_against": case.p[1]}
        | {"p_for_holm": case.p_for_holm, "p_against_holm": case.p_against_holm, "asked": case.asked}
        | {"note": "; ".join(filter(None, notes))}
    )


def _part_rows(
    case: Case, families: Mapping[str, str], published: Mapping[str, Any], level: float
) -> Iterator[dict[str, Any]]:
    for part, estimate, (for_, against) in zip(case.claim.parts, case.estimates, case.tails, strict=True):
        yield (
            {"claim": case.claim.number, "part": part.name, "model": case.model}
            | {"family": families.get(case.model, ""), "variant": case.variant, "headline": case.headline}
            | {"says": part.says}
            | _numbers(part, estimate, published)
            | {"p_for": for_, "p_against": against, "holds": HOLDS.get((for_ < level, against < level), "open")}
            | {"note": estimate.note}
        )


def _numbers(part: Part, estimate: Estimate, published: Mapping[str, Any]) -> dict[str, Any]:
    """The columns NUMBERS and `test` of a part: estimate, bound and published value."""
    value: Callable[[Mapping[str, Any]], float] | None = VALUES.get(part.published)
    return {
        "unit": part.unit,
        "units": estimate.units,
        "effect": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "side": part.side,
        "bound": part.bound,
        "form": part.form,
        "published": value(published) if value else math.nan,
        "published_text": "" if value else part.published,
        "place": part.place,
        "test": part.test,
    }


def _times(p: float, number: int) -> float:
    """Bonferroni's correction of a p-value; nan stays nan."""
    return math.nan if math.isnan(p) else min(1.0, p * number)


def _last(p: float) -> float:
    """A p-value to sort by; a missing one counts as no evidence."""
    return 1.0 if math.isnan(p) else p
