"""How many jobs run again after which change: dry runs on a finished study. test_reruns.py has the documented table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.study import SMOKE, edit, planned_jobs

LAST = {"build_report", "build_provenance", "pack_report"}  # of the report, whatever chapter has changed
# And the verdicts; and the plan, when the configuration has.
REPORT = {"judge_claims", "plot_claims", "render_chapter", "list_jobs", "draw_workflow"} | LAST
AFTER_TESTS = {"summarise_suppression", "compare_variants", "plot_suppression"} | REPORT
AFTER_TRACES = {"summarise_tracing", "plot_tracing"} | REPORT
AFTER_EDITS = {"summarise_editing", "plot_editing"} | REPORT
AFTER_SELECTION = {"select_neurons", "summarise_localization", "plot_localization"} | REPORT
AFTER_ATTRIBUTION = AFTER_SELECTION | {"attribute_neurons", "suppress_neurons", "test_suppression"} | AFTER_TESTS
EXAMPLES = {"edit_examples", "gather_examples"}
AFTER_ATTRIBUTION |= {"edit_tasks"} | EXAMPLES | AFTER_EDITS  # one of the editors looks for knowledge neurons itself
BATCHES = 7  # of a model's tasks in the smoke study, each a job of its own
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
    assert jobs["build_provenance"] == 1 and not jobs["list_jobs"] and not jobs["draw_workflow"]  # no plan, no picture


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
    add_code(study, "tracing/restore.py")
    jobs = planned_jobs(study)
    assert jobs["trace_prompts"] == BATCHES
    assert set(jobs) <= AFTER_TRACES | AFTER_EDITS | {"trace_prompts"}  # edits are held against traces


def test_tests_of_sites_trace_nothing_anew(study: Path) -> None:
    add_code(study, "tracing/sites.py")
    jobs = planned_jobs(study)
    assert jobs["summarise_tracing"] == 1 and set(jobs) <= AFTER_TRACES


def test_editing_code_edits_and_leaves_other_chapters_alone(study: Path) -> None:
    add_code(study, "editing/values.py")
    jobs = planned_jobs(study)
    assert jobs["edit_tasks"] == EDITS and jobs["sweep_layers"] == 2 and not jobs["collect_covariance"]
    assert set(jobs) <= AFTER_EDITS | {"edit_tasks", "sweep_layers"} | EXAMPLES


def test_settings_of_a_single_model_leave_the_others_alone(study: Path) -> None:
    edit(study / SMOKE, "llama: *rome}\n", "llama: *rome}\n      models: {gpt2: {<<: *rome, steps: 4}}\n")
    jobs = planned_jobs(study)
    assert jobs["edit_tasks"] == jobs["sweep_layers"] == 1
    assert set(jobs) <= AFTER_EDITS | {"edit_tasks", "sweep_layers"} | EXAMPLES


def test_tests_of_criteria_edit_nothing_anew(study: Path) -> None:
    add_code(study, "editing/criteria.py")
    jobs = planned_jobs(study)
    assert jobs["summarise_editing"] == 1 and set(jobs) <= AFTER_EDITS


def test_other_verdicts_are_judged_anew_and_nothing_is_measured(study: Path) -> None:
    add_code(study, "report/claims/estimates.py")
    # Four chapters have claims; the others' pages stay.
    assert planned_jobs(study) == {"judge_claims": 1, "plot_claims": 1, "render_chapter": 4} | dict.fromkeys(LAST, 1)


def test_tasks_that_share_a_job_are_done_anew_together(study: Path) -> None:
    edit(study / SMOKE, "  per_job: 2\n", "  per_job: 1\n")
    jobs = planned_jobs(study)
    # Two paradigms of bert were one job; the relation, and the causal models' one paradigm, had their own before.
    assert jobs["attribute_neurons"] == jobs["trace_prompts"] == jobs["make_prompts"] == 2
    assert not jobs["train_model"]


def test_another_rule_is_planned_and_drawn_anew(study: Path) -> None:
    edit(study / "workflow/rules/tracing.smk", "rule plot_tracing:", "rule draw_tracing:")
    jobs = planned_jobs(study)
    assert jobs["list_jobs"] == jobs["draw_workflow"] == jobs["build_provenance"] == jobs["pack_report"] == 1
    assert not jobs["render_chapter"] and not jobs["train_model"]


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
    assert jobs["attribute_neurons"] == jobs["select_neurons"] == jobs["make_prompts"] == jobs["trace_prompts"] == 2
    assert not jobs["make_world"]


def test_a_new_paradigm_runs_only_its_jobs_and_hides_no_other_change(study: Path) -> None:
    edit(study / SMOKE, "  relations:\n", "    - anaphor_number_agreement\n  relations:\n")
    edit(study / SMOKE, "      nodes: 3\n", "      nodes: 4\n")
    jobs = planned_jobs(study)
    for rule in ("make_prompts", "attribute_neurons", "select_neurons", "suppress_neurons", "trace_prompts"):
        assert jobs[rule] == 3, rule
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
