"""Which relations are linked, and which of their answers correspond."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from kn_thesis.configuration.tasks import task_table
from kn_thesis.editing.questions import load_synonyms
from kn_thesis.errors import UserError

ROOT = Path(__file__).parents[2]


def test_links_between_relations() -> None:
    content = yaml.safe_load((ROOT / "resources/tasks.yaml").read_text())
    relations = task_table(content).relations
    assert (relations["P36"].inverse, relations["P1376"].inverse) == ("P1376", "P36")
    assert {name: task.synonym for name, task in relations.items() if task.synonym} == {"P101": "P106"}
    for change, line in (
        ({"P36": {"inverse": "P9"}}, "relations.P36.inverse: 'P9' is not a relation"),
        ({"P101": {"synonym": "P10"}}, "relations.P101.synonym: 'P10' is not a relation"),
        ({"P101": {"synonym": "P101"}}, "relations.P101.synonym: P101 is not a synonym of itself"),
        ({"P19": {"inverse": "P36"}}, "relations.P19.inverse: relations.P36 has no `inverse: P19`"),
    ):
        merged = {name: entry | change.get(name, {}) for name, entry in content["relations"].items()}
        with pytest.raises(UserError, match=f"^resources/tasks.yaml: {line}") as caught:
            task_table(content | {"relations": merged})
        assert "\n" not in str(caught.value)


def test_synonyms_say_what_the_world_says() -> None:
    relations = task_table(yaml.safe_load((ROOT / "resources/tasks.yaml").read_text())).relations
    table = pd.read_csv(ROOT / "resources/synonyms.csv")
    assert all(relations[row.relation].synonym == row.synonym for row in table.itertuples())
    synonyms = load_synonyms(ROOT / "resources/synonyms.csv")
    assert set(synonyms) == {name for name, task in relations.items() if task.synonym}
    assert sum(map(len, synonyms.values())) == len(table)
    fields = pd.read_csv(ROOT / "resources/world/fields.csv")
    assert [synonyms["P101"][field] for field in fields["field"]] == list(fields["occupation"])
    assert len(set(synonyms["P101"].values())) == len(synonyms["P101"])  # or an edit would change nothing there


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        (["P101,physics,P106"], "line 2: 3 cells, 4 expected"),
        (["P101,physics,P106,physicist", "P101,music,P106,"], "line 3: 'synonym_object' is empty"),
        (["P101,physics,P106,physicist", "P101,physics,P106,chemist"], "line 3: .* stands in line 2 already"),
        (
            ["P101,physics,P106,physicist", "P101,music,P107,musician"],
            "line 3: P101 is P106's synonym above, not P107's",
        ),
        ([], "no rows below the heading"),
    ],
)
def test_broken_synonyms_are_one_line(tmp_path: Path, lines: list[str], wrong: str) -> None:
    path = tmp_path / "synonyms.csv"
    path.write_text("\n".join(["relation,object,synonym,synonym_object", *lines]) + "\n")
    with pytest.raises(UserError, match=wrong) as caught:
        load_synonyms(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    path.write_text("relation,object\nP101,physics\n")
    with pytest.raises(UserError, match="columns must be relation, object, synonym, synonym_object"):
        load_synonyms(path)
    with pytest.raises(UserError, match=r"none\.csv: there is no such file"):
        load_synonyms(tmp_path / "none.csv")
