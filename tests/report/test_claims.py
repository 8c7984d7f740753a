"""Every claim supported, contradicted and left undecided by tables with a known answer; corrections and exclusions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from kn_thesis.errors import UserError
from kn_thesis.report.claims.judge import judge
from kn_thesis.report.claims.rules import Rules, read_rules
from tests.helpers.claim_tables import MODELS, NOT_SUPPORTED, SUPPORTED, UNDECIDED, tables

ROOT = Path(__file__).parents[2]
RULES = read_rules(ROOT / "resources/claims.yaml")
PUBLISHED = yaml.safe_load((ROOT / "resources/published.yaml").read_text())
NUMBERS = [claim.number for claim in RULES.claims]


def only(*numbers: int) -> Rules:
    return dataclasses.replace(RULES, claims=[claim for claim in RULES.claims if claim.number in numbers])


def judged(
    found: Mapping[str, pd.DataFrame], rules: Rules = RULES, models: Mapping[str, str] = MODELS, together: Any = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    return judge(rules, found, PUBLISHED, models, list(models) if together is None else together)


def verdicts(claims: pd.DataFrame, number: int) -> dict[str, str]:
    rows = claims[(claims["claim"] == number) & claims["headline"]]
    return dict(zip(rows["model"], rows["verdict"], strict=True))


def test_there_are_twelve() -> None:
    assert list(range(1, 13)) == NUMBERS


@pytest.mark.parametrize("answer", [SUPPORTED, NOT_SUPPORTED, UNDECIDED])
@pytest.mark.parametrize("number", NUMBERS)
def test_each_claim_comes_to_each_verdict(number: int, answer: str) -> None:
    claims, _ = judged(tables({number: answer}), only(number))
    assert verdicts(claims, number) == dict.fromkeys(["all", *MODELS], answer)


@pytest.mark.parametrize("answer", [SUPPORTED, NOT_SUPPORTED, UNDECIDED])
def test_all_at_once_after_correction(answer: str) -> None:
    claims, parts = judged(tables(dict.fromkeys(NUMBERS, answer)))
    assert set(claims["verdict"]) == {answer} and len(claims) == 4 * len(NUMBERS)
    assert len(parts) == 4 * sum(len(claim.parts) for claim in RULES.claims)
    fors = claims[claims["model"] == "bert"]
    assert (fors["p_for_holm"] >= fors["p_for"]).all()


def test_one_answer_leaves_the_others_alone() -> None:
    for number in (1, 2, 5, 7, 9, 11):  # these share tables with others
        claims, _ = judged(tables({number: NOT_SUPPORTED}))
        expected = {one: NOT_SUPPORTED if one == number else SUPPORTED for one in NUMBERS}
        assert {one: verdicts(claims, one)["bert"] for one in NUMBERS} == expected


def test_the_weakest_part_decides_and_the_failing_part_is_named() -> None:
    claims, parts = judged(tables({9: NOT_SUPPORTED}), only(9))
    assert set(claims["deciding"]) == {"symmetry, new side"}
    assert parts.groupby("part")["holds"].agg(set)["symmetry, new side"] == {"no"}
    assert parts.groupby("part")["holds"].agg(set)["reliability"] == {"yes"}


def test_correction_over_claims_can_take_a_verdict() -> None:
    found = tables({one: UNDECIDED for one in NUMBERS})
    table = found["number_neurons"]
    table["difference"] = np.tile([-0.1, 0.3, 0.35, 0.05], len(table) // 4)
    alone, among = (
        judged(found, rules)[0].query("claim == 4 and model == 'bert'").iloc[0] for rules in (only(4), RULES)
    )
    assert 0.05 / 12 < alone["p_for"] < 0.05 and alone["p_for"] == among["p_for"]
    assert alone["verdict"] == SUPPORTED and among["verdict"] == UNDECIDED


def test_no_verdict_over_models_against_one_of_them() -> None:
    models = {f"m{number}": "bert" for number in range(8)}
    found, other = tables({}, models), tables({8: NOT_SUPPORTED}, models)
    found["editing"] = pd.concat(
        [found["editing"].query("model != 'm7'"), other["editing"].query("model == 'm7'")], ignore_index=True
    )
    claims, _ = judged(found, only(8), models)
    went = verdicts(claims, 8)
    over = claims[claims["model"] == "all"].iloc[0]
    assert went["m7"] == NOT_SUPPORTED and went["m0"] == SUPPORTED
    assert over["p_for_holm"] < 0.05 and went["all"] == UNDECIDED and "not in every model" in over["note"]


def test_models_of_other_worlds_are_judged_and_not_pooled() -> None:
    models = MODELS | {"bert-swapped": "bert"}
    found, other = tables({}, models), tables({1: NOT_SUPPORTED}, models)
    here = found["localization"]["model"] == "bert-swapped"
    found["localization"] = pd.concat([found["localization"][~here], other["localization"][here]], ignore_index=True)
    claims, _ = judged(found, only(1), models, list(MODELS))
    assert verdicts(claims, 1) == {"all": SUPPORTED, **dict.fromkeys(MODELS, SUPPORTED), "bert-swapped": NOT_SUPPORTED}


def test_the_editor_with_the_method_s_name_leads_even_if_the_edits_of_another_take() -> None:
    found = tables({})
    table = found["editing"]
    others = [table[table["editor"] == "rome"].assign(editor=f"rome-{name}") for name in ("gap", "covariance")]
    table.loc[(table["editor"] == "rome") & (table["criterion"] == "reliability"), "share"] = 0.1
    claims, parts = judged(found | {"editing": pd.concat([*others, table], ignore_index=True)}, only(9))
    rows = claims[claims["model"] == "gpt2"].set_index("variant")
    assert list(rows.index[rows["headline"]]) == ["rome"] and rows.loc["rome", "verdict"] == NOT_SUPPORTED
    assert rows.loc["rome-gap", "verdict"] == SUPPORTED
    own = parts[(parts["model"] == "gpt2")].groupby("variant")["p_for"].max()
    assert rows.loc["rome", "p_for"] == own["rome"]  # chosen beforehand: nothing to correct for
    assert rows.loc["rome-gap", "p_for"] == pytest.approx(2 * own["rome-gap"])
    assert verdicts(claims, 9)["all"] != SUPPORTED


PARTS = [(claim.number, part.name) for claim in RULES.claims for part in claim.parts if part.needed]


def without(found: dict[str, pd.DataFrame], number: int, part: str) -> dict[str, pd.DataFrame]:
    """The tables of a study that cannot ask one part of a claim."""
    claim = next(claim for claim in RULES.claims if claim.number == number)
    of = next(one for one in claim.parts if one.name == part).of
    if "words" in of:
        rows = found["suppression"]
        numbered = rows["word_group"].isin(("singular", "plural"))
        same = rows["word_group"] == rows["set"]
        group = {"own": numbered & same, "other": numbered & ~same, "neutral": rows["word_group"] == "neutral"}
        return found | {"suppression": rows[~group[of["words"]]]}
    if "name" in of:
        rows = found["editing"]
        return found | {"editing": rows[rows["criterion"] != of["name"]]}
    if part == "experiment":
        return found | {"variants": found["variants"].iloc[:0]}
    if part == "correlation":
        return found | {"cooccurrence": found["cooccurrence"].iloc[:0]}
    name = claim.reads[0]
    return found | {name: found[name].iloc[:0]}


@pytest.mark.parametrize(("number", "part"), PARTS)
def test_a_claim_without_a_part_that_it_needs_is_not_asked(number: int, part: str) -> None:
    claims, _ = judged(without(tables({}), number, part), only(number))
    assert not claims["asked"].any() and set(claims["verdict"]) == {UNDECIDED}
    assert claims[["p_for", "p_against", "p_for_holm", "p_against_holm"]].isna().all(axis=None)
    assert part in claims.set_index("model").loc["bert", "note"]


def test_a_part_that_a_claim_does_not_need_is_left_out_and_named() -> None:
    found = tables({})
    claims, _ = judged(found | {"editing": found["editing"].query("criterion != 'other_verb'")}, only(11))
    assert verdicts(claims, 11)["bert"] == SUPPORTED and claims["asked"].all()
    assert "another verb: no edit was asked this" in claims.set_index("model").loc["bert", "note"]


@pytest.mark.parametrize(("number", "criterion"), [(9, "symmetry_new"), (9, "symmetry_old"), (10, "synonymy")])
def test_what_a_model_never_knew_is_no_failure_of_an_edit(number: int, criterion: str) -> None:
    """Ignorance of the inverse or of the synonym looks like failure where every edit counts."""
    found = tables({})
    rows = found["editing"]
    here = rows["criterion"] == criterion
    for known, asked in ((0, False), (2, False), (5, True)):  # in each of two tasks: 0, 4 and 10 edits
        some = rows.assign(known_edits=rows["known_edits"].where(~here, known))
        some["share_known"] = rows["share_known"].where(~here | (known > 0))
        claims, _ = judged(found | {"editing": some}, only(number))
        assert set(claims["asked"]) == {asked}, known
        assert asked or not {SUPPORTED, NOT_SUPPORTED} & set(claims["verdict"])
    returns = rows.assign(share_known=rows["share_known"].where(~here, 0.95))  # as the edit should, where it was known
    claims, _ = judged(found | {"editing": returns}, only(number))
    assert verdicts(claims, number)["bert"] == NOT_SUPPORTED


def test_an_edit_that_changes_every_answer_is_not_general() -> None:
    found = tables({})
    rows = found["editing"]
    everywhere = rows.assign(share_known=rows["share_known"].where(rows["criterion"] != "locality", 0.02))
    claims, _ = judged(found | {"editing": everywhere}, only(9))
    assert verdicts(claims, 9)["bert"] == NOT_SUPPORTED
    assert set(claims["deciding"]) == {"locality"}


def test_a_relation_and_its_inverse_are_one_set_of_facts() -> None:
    found = tables({})
    rows = found["editing"].query("editor == 'knowledge_neuron' and task != 'all'").copy()
    parts = []
    for number, share in enumerate((0.0, 0.0, 0.4, 0.4)):
        parts.append(rows[rows["task"] == "relation_1"].assign(task=f"P{number}", share=share))
    found["editing"] = pd.concat(parts, ignore_index=True)
    inverses = {"P1": "P0", "P3": "P2"}
    four, two = (
        judge(only(8), found, PUBLISHED, MODELS, list(MODELS), same)[0].set_index("model").loc["bert"]
        for same in ({}, inverses)
    )
    assert four["effect"] == two["effect"] == pytest.approx(0.2)
    assert four["p_for"] < two["p_for"] and two["high"] > four["high"]


def test_one_model_is_no_verdict_over_models() -> None:
    found = tables({})
    found["variants"] = found["variants"].query("family == 'bert'")
    claims, _ = judged(found, only(7))
    rows = claims.set_index("model")
    assert list(rows.index[rows["asked"]]) == ["bert"] and verdicts(claims, 7)["bert"] == SUPPORTED
    assert "bert was asked all that it needs; a verdict over models needs 2" in rows.loc["all", "note"]


def test_claims_that_were_not_asked_count_in_the_correction() -> None:
    found = tables({one: UNDECIDED for one in NUMBERS if one != 4})
    few = {name: table if name in ("number_neurons", "models") else table.iloc[:0] for name, table in found.items()}
    rows = [judged(some)[0].query("claim == 4 and model == 'bert'").iloc[0] for some in (found, few)]
    assert rows[0]["p_for_holm"] == rows[1]["p_for_holm"] == pytest.approx(12 * rows[1]["p_for"])


def test_what_is_not_asked_is_named() -> None:
    found = tables({})
    for name in ("editing", "variants"):
        key = "family" if name == "variants" else "model"
        found[name] = found[name][found[name][key] != "bert"]
    claims, _ = judged(found)
    bert = claims[claims["model"] == "bert"].set_index("claim")
    assert not bert.loc[[8, 9, 10, 11], "asked"].any() and set(bert.loc[[8, 9, 10, 11], "verdict"]) == {UNDECIDED}
    assert bert.loc[9, "note"].startswith("reliability: nothing is edited with rome in this model")
    # This family has no experiment for claim 7, and a correlation alone does not decide it.
    assert not bert.loc[7, "asked"] and "changes no word's co-occurrence" in bert.loc[7, "note"]
    assert verdicts(claims, 9)["gpt2"] == SUPPORTED
    assert claims.query("claim == 9 and model == 'all'")["asked"].all()  # two others were asked


def test_what_is_not_learned_is_no_evidence_and_named() -> None:
    """A task that a model has not learned takes no part in the verdict, even if it contradicts the claim."""
    found = tables({})
    table = found["localization"]
    table["task"] = [
        f"{kind} {n}" for kind, n in zip(table["kind"], table.groupby(["model", "kind"]).cumcount(), strict=True)
    ]
    task = "paradigm 0"
    spoilt = table.copy()
    spoilt["KN"] = table["KN"].where((table["model"] != "bert") | (table["task"] != task), table["neurons"] * 0.9)
    without = table[(table["model"] != "bert") | (table["task"] != task)]
    failed = pd.DataFrame([{"model": "bert", "family": "bert", "task": task, "learned": "no"}])
    models = pd.concat([found["models"], failed], ignore_index=True)
    expected, _ = judged(found | {"localization": without}, only(1))
    claims, _ = judged(found | {"localization": spoilt, "models": models}, only(1))
    trusted, _ = judged(found | {"localization": spoilt}, only(1))
    numbers = ["model", "effect", "low", "high", "units", "verdict"]
    pd.testing.assert_frame_equal(claims[numbers], expected[numbers])
    assert not claims[numbers].equals(trusted[numbers])
    notes = claims.set_index("model")["note"].fillna("")
    assert notes["bert"] == notes["all"] == f"left out, not learned: bert, {task}"
    assert not notes[["gpt2", "llama"]].str.contains("not learned").any()


def test_too_few_tasks_decide_nothing() -> None:
    found = tables({})
    few = found["number_neurons"].groupby("model").head(2)
    claims, _ = judged(found | {"number_neurons": few}, only(4))
    assert set(claims["verdict"]) == {UNDECIDED} and claims["asked"].all()
    assert "2 paradigms: at least 3 are needed" in claims.set_index("model").loc["bert", "note"]


def test_nothing_at_all() -> None:
    empty = {name: table.iloc[:0] for name, table in tables({}).items()}
    claims, parts = judged(empty)
    assert set(claims["verdict"]) == {UNDECIDED} and not claims["asked"].any() and parts["effect"].isna().all()


def test_published_values_are_the_poster_s() -> None:
    _, parts = judged(tables({}))
    told = parts[parts["model"] == "all"].set_index(["claim", "part"])["published"].dropna()
    expected = {
        (1, "few"): (3.94 + 1.86 + 5.53 + 2.45 + 8.88 + 2.26) / 6 / 36864,
        (2, "τ"): (0.71 + 0.62 + 0.73 + 0.67 + 0.78 + 0.67) / 6 - (0.515 + 0.662 + 0.607 + 0.663 + 0.814 + 0.689) / 6,
        (6, "overturned"): (5.2 + 2.6 + 2.7 + 2.0) / 400,
        (8, "reliability"): (22.51 + 11.34 + 47.86 + 1.66) / 400,
    }
    for key, value in expected.items():
        assert told[key] == pytest.approx(value), key
    assert set(told.index) == {*expected, (2, "R²₁"), (2, "|KN|"), (4, "similarity")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["claims"][0].pop("says"), "claim 1"),
        (
            lambda found: found["claims"][0]["parts"][0].update(side="left"),
            "`side` must be one of above, below, within",
        ),
        (lambda found: found["claims"][0]["parts"][0].update(colour="red"), "claim 1"),
        (lambda found: found["claims"][1].update(number=1), "give each its own"),
        (lambda found: found["claims"][2].update(parts=[]), "claim 3: it needs `parts`"),
        (lambda found: found["claims"][2].update(shown="all"), "`shown` must be one of its parts, overlap"),
        (lambda found: found.update(level=5), "level: 5 is out of range; allowed: 0 to 1"),
        (lambda found: found.pop("fewest"), "'fewest' is missing"),
    ],
)
def test_a_wrong_rule_is_one_line(tmp_path: Path, change: Any, said: str) -> None:
    found = yaml.safe_load((ROOT / "resources/claims.yaml").read_text())
    change(found)
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump(found, allow_unicode=True))
    with pytest.raises(UserError, match=r"claims\.yaml") as raised:
        read_rules(file)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_measure_or_table_that_is_not_there_is_one_line() -> None:
    part = dataclasses.replace(RULES.claims[0].parts[0], measure="guess")
    wrong = dataclasses.replace(RULES, claims=[dataclasses.replace(RULES.claims[0], parts=[part])])
    with pytest.raises(UserError, match="there is no measure 'guess'"):
        judged(tables({}), wrong)
    with pytest.raises(UserError, match=r"there is no table tracing.csv"):
        judged({name: table for name, table in tables({}).items() if name != "tracing"})
