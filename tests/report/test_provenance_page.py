"""The provenance page of a finished study, and the JSON file beside it."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from kn_thesis.report.provenance_page import provenance_html

SEEDS = {"seed", "corpora.world.seed", "selection.bootstrap.seed"}
TABLES = (
    "project",
    "configuration",
    "seeds",
    "texts",
    "resources",
    "model-revisions",
    "packages",
    "machine",
    "timings",
)


@pytest.fixture
def facts(finished_study: Path) -> dict[str, Any]:
    return json.loads((finished_study / "results/provenance.json").read_text())


@pytest.fixture
def html(finished_study: Path) -> str:
    return (finished_study / "results/report/provenance.html").read_text()


def shown(html: str, table: str) -> str:
    match = re.search(rf'<figure class="table" id="table-{table}">(.*?)</table>', html, re.DOTALL)
    assert match, table
    return match[1]


def first_cells(html: str, table: str) -> list[str]:
    """The first cell of each row."""
    cells = re.findall(r'<th scope="row"[^>]*>(.*?)</th>', shown(html, table))
    return [re.sub(r"<wbr>", "", cell) for cell in cells]


def test_sections_tables_and_pictures_have_anchors_and_captions(html: str) -> None:
    for table in TABLES:
        assert '<span class="caption">' in shown(html, table), table
    for anchor in ("run", "settings", "data", "models", "software", "time"):
        assert f'<h2 id="{anchor}">' in html
    assert re.search(r'<figure class="picture" id="figure-timings">.*?<figcaption>', html)
    assert "snakemake --rulegraph" in html


def test_every_page_s_navigation_ends_with_provenance(finished_study: Path) -> None:
    for page in (finished_study / "results/report").glob("*.html"):
        links = re.findall(r'<a href="(\w+)\.html"', re.search(r"<nav.*?</nav>", page.read_text(), re.DOTALL)[0])
        assert links[0] == "index" and links[-1] == "provenance", page.name


def test_the_json_is_sorted(finished_study: Path) -> None:
    text = (finished_study / "results/provenance.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def test_every_seed_is_shown(facts: dict[str, Any], html: str) -> None:
    assert set(facts["seeds"]) == SEEDS | {f"models.{model}.train.seed" for model in facts["models"]}
    for key in facts["seeds"]:
        assert key in first_cells(html, "seeds"), key


def test_the_configuration_is_shown_with_its_defaults(facts: dict[str, Any], html: str) -> None:
    configuration = first_cells(html, "configuration")
    assert len(configuration) == len(facts["configuration"]) > 80
    assert {"selection.coarse", "attribution.nodes"} <= set(configuration)


def test_checksums_are_those_of_the_files(finished_study: Path, facts: dict[str, Any], html: str) -> None:
    for part, count in (("texts", 2), ("resources", 15)):
        assert len(facts[part]) >= count
        for row in facts[part]:
            assert row["sha256"] == hashlib.sha256((finished_study / row["file"]).read_bytes()).hexdigest()
            assert row["sha256"] in shown(html, part)
    assert {row["file"] for row in facts["resources"]} >= {"resources/corpora.yaml", "resources/world/nouns.csv"}
    assert facts["fetched"] == [] and "Nothing was fetched" in html
    for model, known in facts["models"].items():
        weights = finished_study / f"results/models/{model}/model.safetensors"
        assert known["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert known["weights_sha256"] in shown(html, "model-revisions") and known["parameters"] > 1000


def test_nobody_s_folders_user_or_host_are_named(finished_study: Path, facts: dict[str, Any], html: str) -> None:
    text = html + (finished_study / "results/provenance.json").read_text()
    text = re.sub(r"base64,[\w+/=]+", "", text)
    assert str(finished_study) not in text and str(Path.home()) + "/" not in text
    assert not re.search(r"(?<![\w.:/<])/(home|root|tmp|usr|var|opt|Users)\b", text)
    # A word of the study may coincide with a user name: only the parts that could reveal one are checked.
    assert getpass.getuser() not in words_of(facts["machine"]) | words_of(facts["project"])
    assert socket.gethostname() not in words_of(facts)


def words_of(value: Any) -> set[str]:
    return set(re.findall(r"[\w.-]+", json.dumps(value)))


def test_every_job_s_time_is_counted(finished_study: Path, facts: dict[str, Any], html: str) -> None:
    folder = finished_study / "results/benchmarks"
    files: dict[str, list[Path]] = {}
    for file in folder.rglob("*.tsv"):
        files.setdefault(file.relative_to(folder).parts[0].removesuffix(".tsv"), []).append(file)
    timings = {row["rule"]: row for row in facts["timings"]}
    assert set(files) - set(timings) == {"build_provenance", "pack_report"} and set(timings) <= set(files)
    for name, row in timings.items():
        seconds = [float(file.read_text().splitlines()[1].split("\t")[0]) for file in files[name]]
        assert row["jobs"] == len(seconds)
        assert row["total_s"] == pytest.approx(sum(seconds), abs=0.01) and row["longest_s"] == max(seconds)
        assert name in first_cells(html, "timings")
        text = (finished_study / f"workflow/rules/{row['chapter']}.smk").read_text()
        assert f"rule {name}:" in text or f'f"{name}_{{' in text, name
    assert f"{sum(row['jobs'] for row in timings.values())} jobs have a timing" in html


def test_a_study_of_the_hub_shows_revisions_and_licences(facts: dict[str, Any]) -> None:
    hub = {"family": "gpt2", "source": "hub", "hub_id": "a/<b>", "revision": "f00d", "weights_sha256": None}
    fetched = {
        "corpus": "blimp",
        "file": "data/x.jsonl",
        "licence": "CC BY 4.0",
        "bytes": 1,
        "sha256": "aa",
        "url": "u",
    }
    changed = {"models": {"m": hub | {"parameters": None}}, "fetched": [fetched], "texts": [], "timings": []}
    html = provenance_html(facts | changed)
    assert "f00d" in shown(html, "model-revisions") and "a/&lt;b&gt;" in html and "<b>" not in html
    assert "CC BY 4.0" in shown(html, "fetched") and "No text was written" in html
    assert "figure-timings" not in html
