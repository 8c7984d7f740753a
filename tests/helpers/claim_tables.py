"""Tables in which the answer to every claim is known: each of the twelve supported, contradicted or left open."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

MODELS = {"bert": "bert", "gpt2": "gpt2", "llama": "llama"}
SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
TASKS = 8  # of each kind


def tables(answers: Mapping[int, str], models: Mapping[str, str] = MODELS, seed: int = 1) -> dict[str, pd.DataFrame]:
    """All tables that the claims read, for models by family; a claim that is not named is supported."""
    random = np.random.default_rng(seed)
    told = {number: answers.get(number, SUPPORTED) for number in range(1, 13)}
    makers = {
        "localization": localization,
        "layers_by_task": layers,
        "number_neurons": likeness,
        "suppression": suppression,
        "accuracy": accuracy,
        "cooccurrence": cooccurrence,
        "editing": editing,
        "tracing": tracing,
    }
    found = {
        name: pd.DataFrame([row | {"model": model} for model in models for row in make(told, random)])
        for name, make in makers.items()
    }
    families = dict.fromkeys(models.values())
    found["variants"] = pd.DataFrame([row | {"family": family} for family in families for row in variants(told)])
    found["models"] = pd.DataFrame({"model": list(models), "family": list(models.values()), "task": "any"})
    found["models"]["learned"] = "yes"
    return found


def around(centre: float, spread: float, random: np.random.Generator) -> np.ndarray:
    """One value per task whose mean is `centre` and whose standard deviation is `spread`, both exactly."""
    draws = random.normal(size=TASKS)
    return centre + spread * (draws - draws.mean()) / draws.std(ddof=1)


def localization(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    neurons = {SUPPORTED: (5, 0.5), NOT_SUPPORTED: (60, 0.5), UNDECIDED: (20.48, 8)}[told[1]]
    apart = {SUPPORTED: 0.0, NOT_SUPPORTED: -0.4, UNDECIDED: -0.1}[told[2]]
    rows = []
    for kind, shift in (("paradigm", apart), ("relation", 0.0)):
        values = zip(
            around(*neurons, random), around(0.5 + shift, 0.02, random), around(0.7, 0.02, random), strict=True
        )
        rows += [
            {"kind": kind, "neurons": 2048, "KN": kn, "KN_shuffled": 0.2 * kn, "R2_1": r2, "tau": tau}
            for kn, r2, tau in values
        ]
    return rows


def layers(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    kept = {SUPPORTED: 0.95, NOT_SUPPORTED: 0.05, UNDECIDED: 0.5}[told[3]]  # of paradigms, where relations lie: layer 0
    shares = {"paradigm": around(kept, 0.04, random), "relation": np.ones(TASKS)}
    return [
        {"task": f"{kind}_{task}", "kind": kind, "layer": layer, "share": share}
        for kind, lowest in shares.items()
        for task, low in enumerate(lowest)
        for layer, share in enumerate((low, 1 - low))
    ]


def likeness(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    values = {SUPPORTED: (0.4, 0.1), NOT_SUPPORTED: (-0.4, 0.1), UNDECIDED: (0.0, 0.2)}[told[4]]
    return [
        {"task": f"determiner_noun_agreement_{task}", "words": "determiner", "difference": value}
        for task, value in enumerate(around(*values, random))
    ]


def suppression(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    own = {SUPPORTED: -0.3, NOT_SUPPORTED: 0.3, UNDECIDED: 0.0}[told[5]]
    rows = []
    for number, other in (("singular", "plural"), ("plural", "singular")):
        groups = {number: own, other: 0.3, "neutral": 0.0}
        for group, centre in groups.items():
            for task, change in enumerate(around(centre, 0.03, random)):
                rows.append(
                    {"task": f"p{task}", "set": number, "word_group": group, "word": group, "log_change": change}
                )
        for word in ("any", "all", "sole", "single", "unique"):
            rows += [
                {"task": f"p{task}", "set": number, "word_group": "biased", "word": word, "log_change": 0.1}
                for task in range(TASKS)
            ]
    return [row | {"kind": "number", "operation": "erase", "before": 0.05} for row in rows]


def accuracy(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    lost = {SUPPORTED: 2, NOT_SUPPORTED: 100, UNDECIDED: 20}[told[6]]
    return [
        {
            "task": f"p{task}",
            "kind": "number",
            "operation": "erase",
            "correct_before": 200,
            "overturned": lost + task % 2,
        }
        for task in range(TASKS)
    ]


def slope(answer: str) -> dict[str, float]:
    """A slope of the contrast of both numbers' neurons: words that follow their company fall, so it is negative."""
    centre, reach = {SUPPORTED: (-0.3, 0.05), NOT_SUPPORTED: (0.3, 0.05), UNDECIDED: (-0.02, 0.3)}[answer]
    return {"slope": centre, "low": centre - reach, "high": centre + reach, "p": 0.5}


def cooccurrence(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    about = {"operation": "erase", "set": "plural − singular", "words": "without number", "n_words": 16}
    return [about | {"task": f"p{task}"} | slope(told[7]) for task in range(TASKS)]


def variants(told: Mapping[int, str]) -> list[dict]:
    return [{"operation": "erase", "set": "plural − singular", "words": 16} | slope(told[7])]


def editing(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    few, most, half = 0.05, 0.95, 0.5
    symmetry = {SUPPORTED: few, NOT_SUPPORTED: most, UNDECIDED: half}
    facts = {"reliability": most, "generality": most, "symmetry_new": symmetry[told[9]], "symmetry_old": few}
    facts |= {"synonymy": symmetry[told[10]], "locality": most}
    pairs = {"reliability": most, "other_distractor": most, "other_subject": symmetry[told[11]], "other_both": few}
    pairs |= {"other_verb": few}
    neurons = {SUPPORTED: few, NOT_SUPPORTED: most, UNDECIDED: half}[told[8]]
    asked = [("rome", "relation", facts), ("rome", "paradigm", pairs)]
    asked += [("knowledge_neuron", "relation", facts | {"reliability": neurons})]
    return [
        {"editor": editor, "kind": kind, "task": task, "criterion": criterion}
        | {"edits": 40, "share": share, "known_edits": 40, "share_known": share}
        for editor, kind, shares in asked
        for task in (f"{kind}_1", f"{kind}_2", "all")
        for criterion, share in shares.items()
    ]


def tracing(told: Mapping[int, str], random: np.random.Generator) -> list[dict]:
    there, reversed_ = {SUPPORTED: (2, 5), NOT_SUPPORTED: (TASKS, 0), UNDECIDED: (4, 0)}[told[12]]
    return [
        {"task": f"t{task}", "headline": headline, "p_sites": 0.5, "two_sites": task < there and headline}
        | {"early_contrast_high": 0.2, "late_contrast_high": -0.1 if task >= TASKS - reversed_ else 0.2}
        for task in range(TASKS)
        for headline in (True, False)
    ]
