"""One whole small study of a random model of every family, from folders as the hub has them, to its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from kn_thesis.configuration.types import MASKED_FAMILIES
from kn_thesis.corpora.world.build import WorldSettings, make_world
from kn_thesis.files import read_tasks
from kn_thesis.models.families import FAMILIES
from tests.helpers import tiny_tokenizers
from tests.helpers.study import ROOT, copy_repository, snakemake
from tests.helpers.tiny_models import config_of, positions_of, save_tokenizer_of, tokenizer_of

PARADIGM, RELATION = "distractor_agreement_relational_noun", "P36"
SENTENCES, POSITIONS = 1500, 64
CAUSAL = [family for family in FAMILIES if family not in MASKED_FAMILIES]
STUDY: dict[str, Any] = {
    "study": "families",
    "corpora": {"world": {"sentences": SENTENCES}},
    "tasks": {"evaluated": 12, "attributed": 8, "per_job": 2, "paradigms": [PARADIGM], "relations": [RELATION]},
    "models": {
        family: {"family": family, "path": f"models/{family}", "device": "cpu", "dtype": "float32"}
        for family in FAMILIES
    },
    "attribution": {"nodes": 2},
    "selection": {"bootstrap": {"resamples": 100}},
    "suppression": {"operations": ["erase"], "random": {"prompts": 2}},
    "tracing": {"prompts": 2, "draws": 1, "kinds": ["mlp", "attention"]},
    "editing": {
        "tasks": [PARADIGM],
        "requests": 2,
        "editors": {
            "rome": {
                "method": "rome",
                "families": {family: {"layer": 0, "steps": 2, "contexts": [], "token": "last"} for family in CAUSAL},
            },
            "knowledge_neuron": {
                "method": "knowledge_neuron",
                "families": {family: {} for family in MASKED_FAMILIES},
                "nodes": 2,
            },
        },
        "questions": {"each": 1, "others": 1},
        "continuations": {"tokens": 2, "samples": 1},
    },
}


def write_model(family: str, folder: Path, text: list[str]) -> None:
    """A random model in the hub's format, two layers deep, with a tokenizer of its family's kind."""
    folder.mkdir(parents=True)
    tokenizer = tiny_tokenizers.qwen(text, 1500) if family == "qwen2" else tokenizer_of(family, text, 1500)
    shape = {"n_layer": 2} if family in ("gpt2", "gptj") else {"num_hidden_layers": 2}
    shape |= {"vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.3} | positions_of(family, POSITIONS)
    shape |= {} if family == "roberta" else {"pad_token_id": None}
    torch.manual_seed(4)
    FAMILIES[family].model_class()(config_of(family, **shape)).save_pretrained(folder)
    save_tokenizer_of(tokenizer, family, folder, POSITIONS)
    if family == "qwen2":
        settings = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": POSITIONS, "eos_token": "<|endoftext|>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the study has run."""
    folder = copy_repository(tmp_path_factory.mktemp("families") / "study")
    text = make_world(ROOT / "resources/world", WorldSettings(sentences=SENTENCES)).text
    for family in FAMILIES:
        write_model(family, folder / "models" / family, text)
    (folder / "families.yaml").write_text(yaml.safe_dump(STUDY))
    done = snakemake(folder, "--cores", "2", configfile="families.yaml")
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def test_the_study_reaches_its_report(study: Path) -> None:
    assert (study / "results/report/index.html").is_file()


@pytest.mark.parametrize("chapter", ["models", "localization", "suppression", "tracing", "editing"])
def test_every_chapter_has_every_model(study: Path, chapter: str) -> None:
    table = pd.read_csv(study / f"results/tables/{chapter}.csv")
    asked = (PARADIGM, RELATION) if chapter in ("models", "localization") else (PARADIGM,)  # random models know no fact
    there = set(zip(table["model"], table["task"], strict=True))
    assert {(family, task) for family in FAMILIES for task in asked} <= there
    assert set(table["model"]) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_is_the_plain_model_s(family: str, study: Path) -> None:
    """Of transformers' own class, loaded without a word on attention: the product over a word's tokens."""
    auto = AutoModelForMaskedLM if family in MASKED_FAMILIES else AutoModelForCausalLM
    plain = auto.from_pretrained(study / "models" / family).eval()
    said = pd.read_parquet(study / f"results/models/{family}.evaluation.parquet").set_index("prompt")
    [file] = (study / f"results/prompts/{family}").glob("*.parquet")
    tables = list(read_tasks([file], (PARADIGM, RELATION)).values())
    assert all(len(table) > 4 for table in tables) and len(said) == sum(map(len, tables))
    for table in tables:
        for prompt in table.itertuples():
            ids, gap, right = list(map(int, prompt.input_ids)), int(prompt.gap), 1.0
            for step, token in enumerate(map(int, prompt.target_ids)):
                with torch.no_grad():
                    logits = plain(torch.tensor([ids])).logits[0, gap + step]
                right *= float(logits.softmax(-1)[token])
                if family in MASKED_FAMILIES:
                    ids[gap + step] = token
                else:
                    ids.append(token)
            np.testing.assert_allclose(said.loc[prompt.prompt, "probability"], right, rtol=1e-4, atol=1e-9)
