"""How many jobs run again after which change: dry runs on a finished study. test_reruns.py has the documented table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.study import SMOKE, edit, planned_jobs

LAST = {"build_report", "build_provenance", "pack_report"}  # of the report, whatever chapter has changed
REPORT = {"judge_claims", "render_chapter"} | LAST
AFTER_TESTS = {"summarise_suppression"} | REPORT
AFTER_TRACES = {"summarise_tracing"} | REPORT
AFTER_EDITS = {"summarise_editing"} | REPORT
AFTER_SELECTION = {"select_neurons", "summarise_localization"} | REPORT
AFTER_ATTRIBUTION = AFTER_SELECTION | {"attribute_neurons", "suppress_neurons", "test_suppression"} | AFTER_TESTS
# One of the editors looks for knowledge neurons itself.
AFTER_ATTRIBUTION |= {"edit_tasks", "edit_examples"} | AFTER_EDITS
BATCHES = 5  # of a model's tasks in the smoke study, each a job of its own: bert has more tasks than fit in one
PARADIGMS = 4  # of them of paradigms
EDITS = 3  # jobs of a model and an editor


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that a test may change; times are kept."""
    return Path(shutil.copytree(finished_study, tmp_path / "study", symlinks=True))


def test_nothing_changed_nothing_runs(study: Path) -> None:
    assert not planned_jobs(study)


def test_selection_attributes_nothing_anew(study: Path) -> None:
    add_code(study, "localization/selection.py")
    jobs = planned_jobs(study)
    assert jobs["select_neurons"] == BATCHES and jobs["suppress_neurons"] == PARADIGMS
    assert set(jobs) <= AFTER_ATTRIBUTION - {"attribute_neurons"}


def test_tests_suppress_nothing_anew(study: Path) -> None:
    add_code(study, "suppression/statistics.py")
    jobs = planned_jobs(study)
    assert jobs["test_suppression"] == 4
    assert set(jobs) <= AFTER_TESTS | {"test_suppression"}
    assert jobs["build_provenance"] == 1


def test_other_words_are_suppressed_anew_and_nothing_before(study: Path) -> None:
    edit(study / SMOKE, "suppression:\n", "suppression:\n  words: {plural: [these], singular: [this]}\n")
    jobs = planned_jobs(study)
    assert jobs["suppress_neurons"] == PARADIGMS
    assert set(jobs) <= AFTER_TESTS | {"suppress_neurons", "test_suppression"}


def test_attribution_code_leaves_corpora_and_training_alone(study: Path) -> None:
    add_code(study, "localization/attribution.py")
    jobs = planned_jobs(study)
    assert jobs["attribute_neurons"] == BATCHES
    assert set(jobs) <= AFTER_ATTRIBUTION


def test_tracing_code_traces_and_leaves_other_chapters_alone(study: Path) -> None:
    add_code(study, "tracing/patching.py")
    jobs = planned_jobs(study)
    assert jobs["trace_prompts"] == BATCHES
    assert set(jobs) <= AFTER_TRACES | AFTER_EDITS | {"trace_prompts"}  # edits are held against traces


def test_tests_of_sites_trace_nothing_anew(study: Path) -> None:
    add_code(study, "tracing/sites.py")
    jobs = planned_jobs(study)
    assert jobs["summarise_tracing"] == 1 and set(jobs) <= AFTER_TRACES


def test_editing_code_edits_and_leaves_other_chapters_alone(study: Path) -> None:
    add_code(study, "editing/value_optimization.py")
    jobs = planned_jobs(study)
    assert jobs["edit_tasks"] == EDITS and jobs["sweep_layers"] == 2 and not jobs["collect_covariance"]
    assert set(jobs) <= AFTER_EDITS | {"edit_tasks", "sweep_layers", "edit_examples"}


def test_settings_of_a_single_model_leave_the_others_alone(study: Path) -> None:
    edit(study / SMOKE, "llama: *rome}\n", "llama: *rome}\n      models: {gpt2: {<<: *rome, steps: 4}}\n")
    jobs = planned_jobs(study)
    assert jobs["edit_tasks"] == jobs["sweep_layers"] == 1
    assert set(jobs) <= AFTER_EDITS | {"edit_tasks", "sweep_layers", "edit_examples"}


def test_tests_of_criteria_edit_nothing_anew(study: Path) -> None:
    add_code(study, "editing/statistics.py")
    jobs = planned_jobs(study)
    assert jobs["summarise_editing"] == 1 and set(jobs) <= AFTER_EDITS


def test_other_verdicts_are_judged_anew_and_nothing_is_measured(study: Path) -> None:
    add_code(study, "report/claims/estimates.py")
    # Four chapters have claims; the others' pages stay.
    assert planned_jobs(study) == {"judge_claims": 1, "render_chapter": 4} | dict.fromkeys(LAST, 1)


def test_tasks_that_share_a_job_are_done_anew_together(study: Path) -> None:
    edit(study / SMOKE, "  per_job: 2\n", "  per_job: 1\n")
    jobs = planned_jobs(study)
    # Two paradigms of bert were one job, and so were a paradigm and the relation of each causal model; bert's relation,
    # and the one task of the model of the other world, had their own before.
    assert jobs["attribute_neurons"] == jobs["trace_prompts"] == jobs["make_prompts"] == 6
    assert not jobs["train_model"]


def test_one_rule_is_forced_and_another_ends_the_run(study: Path) -> None:
    jobs = planned_jobs(study, "--forcerun", "attribute_neurons", "--until", "select_neurons")
    assert jobs == {"attribute_neurons": 5, "select_neurons": 5}
    assert planned_jobs(study, "--forcerun", "trace_prompts", "--until", "trace_prompts") == {"trace_prompts": 5}


def test_another_rule_s_timing_is_another_fact_of_provenance(study: Path) -> None:
    edit(study / "workflow/rules/tracing.smk", "summarise_tracing.tsv", "other_name.tsv")
    assert planned_jobs(study) == {"build_provenance": 1, "pack_report": 1}


def test_what_pages_are_made_of_renders_them_again(study: Path) -> None:
    rules = (study / "workflow/rules/report.smk").read_text()
    assert all(f'"{part.name}"' in rules for part in (study / "workflow/report").glob("*.[cj]s*"))
    path = study / "workflow/report/notebook/index.html.j2"
    path.write_text(path.read_text() + "\n")
    assert planned_jobs(study) == {"render_chapter": 6} | dict.fromkeys(LAST, 1)


def test_training_settings_of_one_model_leave_the_others_alone(study: Path) -> None:
    edit(study / SMOKE, "  llama:\n    family: llama\n    device: cpu\n    train: *train",
         "  llama:\n    family: llama\n    device: cpu\n    train: {<<: *train, seed: 2}")  # fmt: skip
    jobs = planned_jobs(study)
    assert jobs["train_model"] == jobs["evaluate_model"] == jobs["suppress_neurons"] == 1
    assert jobs["attribute_neurons"] == jobs["select_neurons"] == jobs["make_prompts"] == jobs["trace_prompts"] == 1
    assert not jobs["make_world"]


def test_a_new_paradigm_runs_only_its_jobs_and_hides_no_other_change(study: Path) -> None:
    edit(study / SMOKE, "  relations:\n", "    - anaphor_number_agreement\n  relations:\n")
    edit(study / SMOKE, "      nodes: 3\n", "      nodes: 4\n")
    jobs = planned_jobs(study)
    # The new task alone of bert, whose others are as many as fit in a job; and both jobs of the causal models' three.
    for rule in ("make_prompts", "attribute_neurons", "select_neurons", "trace_prompts"):
        assert jobs[rule] == 1 + 2 + 2, rule
    assert jobs["suppress_neurons"] == 3
    # Each model answers the new task with the others: its evaluation is one file.
    assert jobs["evaluate_model"] == 3
    # Of the one editor whose setting is another; and the causal models' edited paradigm shares a job with the new one.
    assert jobs["edit_tasks"] == 1 + 2
    assert not jobs["make_world"] and not jobs["train_model"]


def test_the_last_study_asked_for_does_not_undo_the_models_of_another(study: Path) -> None:
    edit(study / SMOKE, "\nattribution:\n  nodes: 3", "\nattribution:\n  nodes: 4")
    jobs = planned_jobs(study)
    assert jobs["attribute_neurons"] == BATCHES
    assert not jobs["train_model"] and not jobs["evaluate_model"] and not jobs["make_prompts"]


def add_code(study: Path, module: str) -> None:
    """One more statement in a module of the package."""
    file = study / "scripts/kn_thesis" / module
    file.write_text(file.read_text() + "\nCHANGED = True\n")
