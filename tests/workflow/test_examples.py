"""The worked examples (resources/examples), each done as the pages say, in a copy of the repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kn_thesis.files import read_tasks
from tests.helpers.readme import ROOT, added, blocks, commands, succeeds, with_environment
from tests.helpers.study import SMOKE, copy_repository, planned_jobs

EXAMPLES = ROOT / "resources/examples"
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
# Each addition to a study: its heading in docs/extending.md, and the file whose lines stand there.
ADDITIONS = {
    "Add a paradigm": "paradigm/tasks.yaml",
    "Add a relation": "relation/tasks.yaml",
    "Add an editor": "editor/editors.yaml",
}

PARADIGM, RELATION = "quantifier_noun_agreement", "country_language"
AGREEMENT = "distractor_agreement_relational_noun"  # of it even the smoke study's models know something
# What is added one after the other, and files of the results that only the affected rules can make.
RUNS = [
    (["Add an editor"], ["editing/gpt2/noise/tasks-1.questions.parquet"]),
    (
        ["Add a paradigm", "Add a relation"],
        [
            *(f"localization/gpt2/{kind}-1.neurons.parquet" for kind in ("paradigms", "relations")),
            f"prompts/bert/{PARADIGM}.parquet",
        ],
    ),
]


@pytest.mark.parametrize(("heading", "file"), ADDITIONS.items())
def test_the_page_shows_the_lines_that_are_added(heading: str, file: str) -> None:
    assert blocks("yaml", heading) == [(EXAMPLES / file).read_text()]


def test_the_readme_s_lines_of_a_model_are_those_of_the_example() -> None:
    (shown,) = blocks("yaml", "Add your model")
    whole = yaml.safe_load((EXAMPLES / "my-model.yaml").read_text())
    entry = yaml.safe_load(shown)["models"]["my-model"]
    assert entry == {key: whole["models"]["my-model"][key] for key in ("family", "path")}


def test_a_model_of_one_s_own_is_studied(finished_study: Path, tmp_path: Path) -> None:
    """The README's command plans every chapter up to the report, and runs up to the tables that have this model first.

    What follows a table is the same code for every study: the finished one shows it.
    """
    study = with_environment(copy_repository(tmp_path / "study"))
    shutil.copytree(finished_study / "results/corpora", study / "results/corpora")  # the same world; the rest is made
    (study / "my-model").mkdir()
    for file in MODEL_FILES:
        shutil.copyfile(finished_study / "results/models/gpt2" / file, study / "my-model" / file)
    (command,) = commands(blocks("sh", "Add your model")[0])
    planned = set(planned_jobs(study, configfile=command.split()[-1]))
    for rule in ("get_model", "evaluate_model", "edit_tasks", "trace_prompts", "test_suppression"):
        assert rule in planned
    assert {"render_chapter", "build_report", "pack_report"} <= planned and "train_model" not in planned
    succeeds(study, f"{command} -- results/tables/models.csv results/tables/localization.csv")
    results = study / "results"
    assert json.loads((results / "models/my-model/model.json").read_text())["location"] == str(study / "my-model")
    for table in ("models", "localization"):
        assert set(pd.read_csv(results / f"tables/{table}.csv")["model"]) == {"my-model"}
    assert len(table_of(results / "localization/my-model", "*.neurons.parquet", AGREEMENT))


@pytest.fixture(scope="module")
def larger(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study with the paradigm, the relation and the editor of the examples added, and their jobs run."""
    study = tmp_path_factory.mktemp("examples") / "study"
    shutil.copytree(finished_study, study, symlinks=True)
    with_environment(study)
    (steps,) = blocks("sh", "Add an editor")
    succeeds(study, steps)
    content = yaml.safe_load((study / SMOKE).read_text())
    for headings, wanted in RUNS:
        for heading in headings:
            content = added(content, yaml.safe_load(blocks("yaml", heading)[0]))
        (study / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        targets = " ".join(f"results/{path}" for path in wanted)
        succeeds(study, f"snakemake --cores 2 --configfile study.yaml -- {targets}")
    return study


def table_of(folder: Path, pattern: str, task: str) -> pd.DataFrame:
    """A task's table in a folder of batches; the newest where an earlier study's batch has the task, too."""
    files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    return read_tasks([path for path in files if path.name.count(".") == pattern.count(".")], [task])[task]


def test_a_paradigm_of_one_s_own_is_asked_and_localized(larger: Path) -> None:
    given = [json.loads(line) for line in (EXAMPLES / f"paradigm/{PARADIGM}.jsonl").read_text().splitlines()]
    asked = table_of(larger / "results/prompts/gpt2", "*.parquet", PARADIGM)
    counts = pd.read_csv(larger / "results/prompts/gpt2/paradigms-1.counts.csv").query("task == @PARADIGM")
    assert counts["count"].sum() == len(given) == 16 and len(asked) >= 4  # the others' words have tokens in common
    for row in asked.to_dict("records"):
        pair = given[int(row["prompt"].removeprefix(f"{PARADIGM}/"))]
        filled = [row["text"].replace("___", row[word]) + "." for word in ("target", "foil")]
        assert filled == [pair["sentence_good"], pair["sentence_bad"]]
        assert (row["number"], row["noun"], row["cue"]) == (pair["target_number"], pair["noun"], pair["cue"])
    masked = table_of(larger / "results/prompts/bert", "*.parquet", PARADIGM)
    assert masked["text"].str.endswith("___.").all() and len(masked) >= 4
    assert len(table_of(larger / "results/localization/gpt2", "*.neurons.parquet", PARADIGM))


def test_a_relation_of_one_s_own_is_asked_and_localized(larger: Path) -> None:
    facts = [json.loads(line) for line in (EXAMPLES / f"relation/{RELATION}.facts.jsonl").read_text().splitlines()]
    asked = table_of(larger / "results/prompts/gpt2", "*.parquet", RELATION)
    stated = {(fact["uuid"], fact["sub_label"], fact["obj_label"]) for fact in facts}
    assert len(asked) and set(zip(asked["group"], asked["subject"], asked["target"], strict=True)) <= stated
    assert set(asked["pattern"]) == {  # the fourth begins with its object: a causal model cannot be asked it
        "People from [X] speak [Y].",
        "In [X], people speak [Y].",
        "The language of [X] is [Y].",
    }
    assert len(table_of(larger / "results/localization/gpt2", "*.neurons.parquet", RELATION))


def test_an_editor_of_one_s_own_edits_in_the_workflow(larger: Path) -> None:
    edits = table_of(larger / "results/editing/gpt2/noise", "*.edits.parquet", AGREEMENT)
    done = edits[edits["status"] == "edited"]
    assert len(done) and set(done["layers"]) == {"1"}
    assert (done["update_norm"] / done["weight_norm"]).sub(0.1).abs().max() < 1e-5
    questions = table_of(larger / "results/editing/gpt2/noise", "*.questions.parquet", AGREEMENT)
    assert (questions["p_before"] != questions["p_after"]).any()


def test_the_editor_s_settings_are_checked(larger: Path) -> None:
    schema = json.loads((larger / "workflow/schemas/study.schema.json").read_text())
    assert {"layer", "size", "seed"} == set(schema["$defs"]["NoiseSettings"]["properties"])


LIBRARY = """
import kn_thesis
model = kn_thesis.load_model("../results/models/gpt2")
with kn_thesis.edit(model, "The capital of France is", "France", "Rome", editor="noise", layer=1) as edited:
    print(edited.layers, edited.probabilities("The capital of France is", ["Rome"]).iloc[0, 1:].nunique())
"""


def test_an_editor_of_one_s_own_edits_in_the_library(larger: Path) -> None:
    found = succeeds(larger, f"cd scripts\npython - <<'END'\n{LIBRARY}\nEND")
    assert found.splitlines()[-1] == "(1,) 2"


def test_the_rest_of_the_study_follows_and_nothing_is_trained_anew(larger: Path) -> None:
    jobs = planned_jobs(larger, configfile="study.yaml")
    assert {"make_prompts", "suppress_neurons", "trace_prompts", "edit_tasks", "build_report"} <= set(jobs)
    assert not {"train_model", "make_world", "collect_covariance"} & set(jobs)


def test_a_family_of_one_s_own_is_taken_apart_rightly(tmp_path: Path) -> None:
    study = with_environment(copy_repository(tmp_path / "study"))
    (steps,) = blocks("sh", "Add a family")
    succeeds(study, steps)
    assert "all right" in succeeds(study, "python -m tests.helpers.example_family", PYTHONPATH=str(study / "scripts"))
    schema = json.loads((study / "workflow/schemas/study.schema.json").read_text())
    assert "gpt_neox" in schema["$defs"]["Model"]["properties"]["family"]["enum"]


def test_every_step_of_the_examples_is_a_command() -> None:
    assert all(commands(block) for heading in ("Add an editor", "Add a family") for block in blocks("sh", heading))
