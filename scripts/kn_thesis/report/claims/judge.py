"""From tables to verdicts, by the rule at the head of resources/claims.yaml; nothing here knows what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kn_thesis.clusters import holm
from kn_thesis.editing.rows import chosen, editors_of
from kn_thesis.errors import UserError
from kn_thesis.models.learned import not_learned, without_unlearned
from kn_thesis.report.claims.estimates import Estimate, missing
from kn_thesis.report.claims.measures import MEASURES
from kn_thesis.report.claims.published import VALUES
from kn_thesis.report.claims.rules import Claim, Part, Rules
from kn_thesis.report.claims.words import OVER_MODELS

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
OPPOSITE = {SUPPORTED: NOT_SUPPORTED, NOT_SUPPORTED: SUPPORTED}
HOLDS = {(True, False): "yes", (False, True): "no"}

NUMBERS = ["unit", "units", "effect", "low", "high", "side", "bound", "form", "published", "published_text", "place"]
CLAIM_COLUMNS = ["claim", "says", "chapter", "model", "family", "variant", "headline", "verdict", "deciding", "part"]
CLAIM_COLUMNS += ["measure", *NUMBERS, "test", "p_for", "p_against", "p_for_holm", "p_against_holm", "asked", "note"]
PART_COLUMNS = ["claim", "part", "model", "family", "variant", "headline", "says", *NUMBERS, "test"]
PART_COLUMNS += ["p_for", "p_against", "holds", "note"]


@dataclass
class Case:
    """A claim in one model (or over models), judged by one variant of its method."""

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
    def asked(self) -> list[int]:
        """Places of the parts that the study asks this model."""
        return [number for number, one in enumerate(self.estimates) if not (one.note and not one.units)]

    @property
    def p(self) -> tuple[float, float]:
        """P-values for the claim and against it, before Holm's correction; nan where a part has none."""
        tails = [self.tails[number] for number in self.asked]
        fors, againsts = [tail[0] for tail in tails], [tail[1] for tail in tails if not math.isnan(tail[1])]
        weakest = max(fors) if fors and not any(map(math.isnan, fors)) else math.nan
        strongest = _times(min(againsts), len(tails)) if againsts else math.nan
        return _times(weakest, self.variants), _times(strongest, self.variants)

    @property
    def deciding(self) -> int:
        """The part that the verdict hangs on: the weakest link, or the one that contradicts most."""
        parts = self.asked or [0]
        if self.verdict == NOT_SUPPORTED:
            return min(parts, key=lambda number: _last(self.tails[number][1]))
        return max(parts, key=lambda number: _last(self.tails[number][0]))


def judge(
    rules: Rules,
    tables: Mapping[str, pd.DataFrame],
    published: Mapping[str, Any],
    families: Mapping[str, str],
    together: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """claims.csv and claim_parts.csv: a row per claim, model (`all`: over models) and variant, and per part of it.

    claims.csv: claim (number), says, chapter, model, family, variant (the editor that it is judged by; over models
    all of theirs), headline (whether this variant leads); verdict, deciding (the part that it hangs on). Of the part
    that the claim shows: part, measure (words), unit, units (their number), effect with the ends of its 95 % interval
    (low, high), in the unit that `measure` says, shares as shares; side and bound (where the claim has it), form (how
    it is written), published (number) or published_text, place, test. p_for, p_against: of the whole claim, before
    and after Holm's correction over the model's claims; asked; note. claim_parts.csv: the same for each part, with
    its own p-values, uncorrected, and whether it holds at the level ("yes", "no", "open").

    tables: those that the claims name, and `models`, by name. What a model has not learned as demanded (models.csv) is
    no evidence: these tasks are left out, and named in `note`. families: of each model, in order. together: the models
    that are taken together; models of other worlds are judged, but are no repetition of these. Raises UserError for a
    table, measure or published value that does not exist.
    """
    _check(rules, tables)
    # models.csv and tables over all tasks stay whole.
    by_task = {name: one for name, one in tables.items() if name != "models" and {"model", "task"} <= set(one)}
    failed = not_learned(tables["models"])
    tables = {**tables, **{name: without_unlearned(one, tables["models"]) for name, one in by_task.items()}}
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


def _left_out(claim: Claim, by_task: Mapping[str, pd.DataFrame], failed: pd.DataFrame, models: Sequence[str]) -> str:
    """In words, the tasks of a claim's tables that these models have not learned; "" where there are none."""
    said = []
    for model in models:
        own = failed.loc[failed["model"] == model, "task"]
        read = [by_task[name] for name in claim.reads if name in by_task]
        asked = {task for one in read for task in chosen(one, model=model)["task"]}
        tasks = [task for task in dict.fromkeys(own) if task in asked]
        said += [f"{model}, {', '.join(tasks)}"] if tasks else []
    return f"left out, not learned: {'; '.join(said)}" if said else ""


def _check(rules: Rules, tables: Mapping[str, pd.DataFrame]) -> None:
    for claim in rules.claims:
        where = f"resources/claims.yaml, claim {claim.number}"
        if absent := [name for name in claim.reads if name not in tables]:
            raise UserError(f"{where}: there is no table {absent[0]}.csv to read; name it in `reads` of the rule, too")
        for part in claim.parts:
            if part.measure not in MEASURES:
                raise UserError(
                    f"{where}, {part.name}: there is no measure {part.measure!r}; have {', '.join(MEASURES)}"
                )


def _cases(claim: Claim, tables: Mapping[str, pd.DataFrame], model: str, rules: Rules) -> Iterator[Case]:
    """A claim in one model, once for each variant of its method; the one that meets the first part best leads."""
    own = {name: tables[name] for name in claim.reads}
    variants = _variants(claim, tables, model)
    if claim.method and not variants:
        nothing = missing(f"nothing is edited with {claim.method} in this model")
        yield Case(claim, model, "", [nothing] * len(claim.parts), [(math.nan, math.nan)] * len(claim.parts))
        return
    cases = [_case(claim, own, model, variant, rules) for variant in variants or [""]]
    best = max(range(len(cases)), key=lambda number: _rank(cases[number].estimates[0]))
    for number, case in enumerate(cases):
        case.variants, case.headline = len(cases), number == best
    yield from sorted(cases, key=lambda case: not case.headline)


def _variants(claim: Claim, tables: Mapping[str, pd.DataFrame], model: str) -> list[str]:
    return editors_of(chosen(tables["editing"], model=model, kind=claim.kind), claim.method) if claim.method else []


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


def _rank(estimate: Estimate) -> float:
    """The largest first part leads: a method is judged where its edits take, one that is said to fail, too."""
    return -math.inf if math.isnan(estimate.value) else estimate.value


def _together(claim: Claim, cases: Sequence[Case]) -> tuple[Case, list[str]]:
    """A claim over models, from the leading case of each, and their verdicts."""
    led = [case for case in cases if case.claim is claim and case.headline]
    estimates = [
        MEASURES[part.measure].combine([case.estimates[number] for case in led])
        for number, part in enumerate(claim.parts)
    ]
    variants = list(dict.fromkeys(case.variant for case in led if case.variant))
    most = max((case.variants for case in led), default=1)
    return Case(claim, OVER_MODELS, " ".join(variants), estimates, _tails(claim, estimates), most), [
        case.verdict for case in led
    ]


def _correct(cases: Sequence[Case], level: float) -> None:
    """Holm over the leading cases of the claims; a variant beside them is corrected as if it were the strictest."""
    led = [case for case in cases if case.headline]
    both = [holm([case.p[side] for case in led]) for side in (0, 1)]
    for case, *corrected in zip(led, *both, strict=True):
        case.p_for_holm, case.p_against_holm = map(float, corrected)
    for case in cases:
        if not case.headline:
            case.p_for_holm, case.p_against_holm = (_times(p, len(led)) for p in case.p)
        agree = (case.p_for_holm < level, case.p_against_holm < level)
        case.verdict = {(True, False): SUPPORTED, (False, True): NOT_SUPPORTED}.get(agree, UNDECIDED)


def _claim_row(case: Case, families: Mapping[str, str], published: Mapping[str, Any], left_out: str) -> dict[str, Any]:
    names = [part.name for part in case.claim.parts]
    shown = names.index(case.claim.shown) if case.claim.shown else 0
    part, estimate = case.claim.parts[shown], case.estimates[shown]
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
        | {"p_for_holm": case.p_for_holm, "p_against_holm": case.p_against_holm, "asked": bool(case.asked)}
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
    """What both tables say of a part: estimate, bound and published value."""
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
    """Bonferroni's correction; nan stays nan."""
    return math.nan if math.isnan(p) else min(1.0, p * number)


def _last(p: float) -> float:
    """A p-value to sort by: where there is none, nothing speaks for or against."""
    return 1.0 if math.isnan(p) else p
