"""What jobs ask a cluster for: shapes against the library's own models, requests against what was measured."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml

from kn_thesis.configuration.tasks import objective
from kn_thesis.configuration.types import TRAINED_FAMILIES
from kn_thesis.plan import jobs, work
from kn_thesis.plan.sizes import Shape, folder_shape, shape_from_config, trained_shape
from tests.helpers.study import ROOT, snakemake

CONFIGS = yaml.safe_load((ROOT / "resources/models.yaml").read_text())
SMALL = Shape(layers=2, hidden=32, intermediate=64, heads=2, vocabulary=2000, positions=128)
LARGE = shape_from_config(CONFIGS["meta-llama/Llama-2-7b-hf"])


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_counted_within_one_percent(name: str) -> None:
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**CONFIGS[name])
    masked = objective(config.model_type) == "masked"
    kind = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    counted = sum(parameter.numel() for parameter in model.parameters())
    shape = shape_from_config(CONFIGS[name])
    assert shape.parameters == pytest.approx(counted, rel=0.01)
    assert shape.layers == config.num_hidden_layers


def test_shared_keys_and_values_are_counted() -> None:
    import torch
    import transformers

    sizes = {"num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8}
    config = {"model_type": "llama", **sizes, "num_key_value_heads": 2, "vocab_size": 100}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert shape_from_config(config).parameters == pytest.approx(counted, rel=0.01)


def test_gpt_j_s_positions_and_its_own_output_matrix_are_known() -> None:
    import torch
    import transformers

    sizes = {"n_layer": 2, "n_embd": 256, "n_head": 8, "rotary_dim": 16, "n_positions": 2048}
    config = {"model_type": "gptj", **sizes, "n_inner": None, "vocab_size": 1000}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert shape_from_config(config).parameters == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("family", TRAINED_FAMILIES)
def test_a_trained_model_s_shape_is_that_of_what_is_built(family: str) -> None:
    from kn_thesis.models.train import Settings, build_model

    model = build_model(family, Settings(), 3000, {"pad": 0, "bos": 1, "eos": 2})
    train = {"layers": 4, "width": 128, "heads": 4, "intermediate": 512, "vocabulary": 3000}
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert trained_shape(family, train).parameters == pytest.approx(counted, rel=0.03)


def test_a_folder_without_a_readable_configuration_has_no_known_shape(tmp_path: Path) -> None:
    assert folder_shape(tmp_path) is None
    for text in ("{", "[]", '{"model_type": "bert"}', '{"hidden_size": "wide"}'):
        (tmp_path / "config.json").write_text(text)
        assert folder_shape(tmp_path) is None


def test_time_and_memory_are_asked_for_with_room_and_grow_with_attempts() -> None:
    for took in (5.0, 600.0, 36_000.0):
        asked = [jobs.minutes(took, attempt) for attempt in (1, 2, 3)]
        assert took / 60 + 5 < asked[0] < asked[1] < asked[2] and asked[1] == pytest.approx(2 * asked[0], abs=5)
    for peak in (300.0, 20_000.0):
        asked = [jobs.memory_mb(peak, attempt) for attempt in (1, 2, 3)]
        assert peak + 500 < asked[0] < asked[1] < asked[2]


def test_time_grows_with_the_model_and_what_it_does() -> None:
    few, many = work.Work(forward=1e6), work.Work(forward=1e9)
    for speed in (1e10, 1e13):
        small, large = (jobs.seconds(few, shape, "float32", speed) for shape in (SMALL, LARGE))
        assert jobs.START < small < large < jobs.seconds(many, LARGE, "float32", speed)
    assert jobs.seconds(many, LARGE, "float32", 1e13) < jobs.seconds(many, LARGE, "float32", 1e12)


def test_memory_holds_the_weights_and_grows_with_batches_and_results() -> None:
    for shape in (SMALL, LARGE):
        for dtype, size in (("float32", 4), ("bfloat16", 2)):
            peak = jobs.peak_memory_mb(shape, dtype, 4096)
            assert peak * 1e6 > shape.parameters * size
            assert jobs.peak_memory_mb(shape, dtype, 65536) > peak
            assert jobs.peak_memory_mb(shape, dtype, 4096, held=1e9) == pytest.approx(peak + 1000)
    full, half = (jobs.peak_memory_mb(LARGE, dtype, 4096) for dtype in ("float32", "bfloat16"))
    assert full > 1.7 * half


# Laid over the paper's study: few tasks, and a model on the CPU that nobody knows.
FEW = """
tasks: {paradigms: [determiner_noun_agreement_2, distractor_agreement_relational_noun], relations: [P36]}
tracing: {tasks: [P36], shown: [P36]}
editing: {tasks: [P36], sweep: {tasks: [P36]}}
models: {own: {family: gpt2, device: cpu, hub: {id: someone/some-model}}}
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dry run of the paper's study on few tasks."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "few.yaml").write_text(FEW)
    files = ("resources/studies/paper.yaml", str(folder / "few.yaml"))
    options = ("--cores", "1", "--dry-run", "--directory", str(folder), "--configfile", *files)
    done = snakemake(ROOT, *options, configfile="")
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def resources(planned: str, rule: str, model: str = "") -> dict[str, int]:
    """gpu, mem_mb and runtime of a rule's job, with a model."""
    lines = r"(?: .+\n)*?"
    found = re.search(rf"rule {rule}:\n{lines} +log: .*{re.escape(model)}.*\n{lines} +resources: (.*)", planned)
    return {name: int(value) for name, value in re.findall(r"(gpu|mem_mb|runtime)=(\d+)", found[1])}


def test_the_paper_s_jobs_ask_by_their_model(planned: str) -> None:
    small, middle, large, unknown = (
        resources(planned, "attribute_neurons", f"/{model}/")
        for model in ("bert-base-cased", "gpt2-xl", "llama-2-7b", "own")
    )
    assert small["mem_mb"] < middle["mem_mb"] < large["mem_mb"] < unknown["mem_mb"]  # planned for as 7B in float32
    assert small["gpu"] == middle["gpu"] == large["gpu"] == 1 and unknown["gpu"] == 0
    assert small["runtime"] <= middle["runtime"] <= large["runtime"] < unknown["runtime"]
    assert large["mem_mb"] * 1e6 > 13.5e9
    tests = resources(planned, "test_suppression")
    assert "gpu" not in tests and tests["mem_mb"] >= 1000 and math.isfinite(tests["runtime"])


def test_as_many_jobs_are_submitted_as_the_documents_say(tmp_path: Path) -> None:
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    options = ("--cores", "1", "--dry-run", "--group-components", *profile["group-components"])
    done = snakemake(ROOT, *options, "--directory", str(tmp_path), configfile="resources/studies/paper.yaml")
    jobs = int(re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE)[1])
    assert jobs <= 5000
    groups = re.findall(r"Group job (\w+) \(jobs", done.stdout)
    alone = re.findall(r"^(?:\[.*\] )?rule (\w+):$", done.stdout, re.MULTILINE)
    assert set(alone) <= {"fetch_corpus_file", "fetch_patterns", "fetch_facts", "get_model", "all"}
    assert len(groups) < jobs  # a rule without a group would be a submission of its own
    text = " ".join((ROOT / "docs/cluster.md").read_text().split())
    with_model = sum(groups.count(name) for name in ("attribution", "suppression", "tracing", "editing"))
    rest = len(groups) - with_model - groups.count("covariance")
    assert f"The paper's study has {jobs} jobs and makes {len(groups)} submissions: {with_model} that hold" in text
    assert f"one for the covariance, and {rest} for all else" in text


def test_a_finished_study_s_jobs_took_no_more_memory_than_they_asked_for(finished_study: Path) -> None:
    """Measured memory of the smoke study, from its benchmark files, against what its plan says."""
    done = snakemake(finished_study, "--cores", "1", "--dry-run", "--forceall")
    checked = 0
    for rule, block in re.findall(r"rule (\w[\w-]*):\n((?: .+\n)+)", done.stdout):
        asked = dict(re.findall(r"(mem_mb)=(\d+)", block))
        benchmark = re.search(r"benchmark: (\S+)", block)
        if asked and benchmark:
            header, *_, last = (finished_study / benchmark[1]).read_text().splitlines()
            row = dict(zip(header.split("\t"), last.split("\t"), strict=True))
            assert row["max_rss"] in ("-", "NA") or float(row["max_rss"]) < int(asked["mem_mb"]), rule
            checked += 1
    assert checked > 20
