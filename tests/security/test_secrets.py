"""Hub tokens and logins in addresses go only to their own host, and stay out of files, logs, pages and messages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.hostile_hub import OUT, hostile_hub
from tests.helpers.mirror_server import serving
from tests.helpers.study import ROOT, SMOKE, copy_repository, snakemake

TOKEN, NAME, PASSWORD = "hf_WordThatNobodyMaySee", "alice-the-reader", "p@ss-that-nobody-may-see"
PARADIGM = "determiner_noun_agreement_1"
# One process requests all of them, with a token from each place that the library knows, in the order of `PLACES`.
PLACES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "file")
PROGRAM = """
import os, sys; sys.path.insert(0, 'scripts')
from pathlib import Path
from kn_thesis.errors import UserError
from kn_thesis.models.sources import record_hub_model
out, token, places, owners = Path(sys.argv[1]), *(argument.split(',') for argument in sys.argv[2:])
for place in places:
    for other in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'):
        os.environ.pop(other, None)
    Path(os.environ['HF_HOME'], 'token').unlink(missing_ok=True)
    if place == 'file':
        Path(os.environ['HF_HOME'], 'token').write_text(token[0])
    else:
        os.environ[place] = token[0]
    for owner in owners:
        try:
            record_hub_model(f'{owner}/bert', 'v1' if place == 'file' else None, 'bert', out / place / owner)
            print(owner, 'is there')
        except UserError as error:
            print(owner, error)
Path(os.environ['HF_HOME'], 'token').unlink()
"""


def clean_environment(endpoint: str, home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return clean | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}


def files_with(secret: str, *folders: Path) -> list[Path]:
    """Files that hold the secret in their bytes or their names."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if secret.encode() in path.read_bytes() or secret in path.name]


def test_a_token_goes_to_the_hub_and_nowhere_else(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """Models that exist, are gated or unknown, have file names that lead elsewhere, or redirect to another host."""
    home = tmp_path / "a/b/c/d/e/cache"
    home.mkdir(parents=True)
    owners = ("elsewhere", "gated401", "names", "commit", "sum")
    with hostile_hub(tiny_models) as (hub, logins):
        job = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "out"), TOKEN, ",".join(PLACES), ",".join(owners)],
            cwd=ROOT,
            env=clean_environment(hub.url, home),
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert job.returncode == 0, job.stderr
    lines = job.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*owners] * len(PLACES)
    for line, expected in zip(lines, ["is there", "is gated", *["cannot be fetched"] * 3] * len(PLACES), strict=True):
        assert expected in line
    requests = len(hub.tokens) // len(PLACES)
    assert hub.tokens.count(f"Bearer {TOKEN}") >= requests and set(hub.tokens) <= {f"Bearer {TOKEN}", None}
    assert logins and set(logins) == {None}
    assert TOKEN not in job.stdout + job.stderr and not files_with(TOKEN, tmp_path)
    assert not list(tmp_path.rglob(f"*{Path(OUT).name}*"))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    (home / "token").write_text(TOKEN)
    return {"HF_TOKEN": TOKEN, "HUGGING_FACE_HUB_TOKEN": TOKEN, "HF_HOME": str(home)}


def test_jobs_that_fetch_write_no_secret(
    tiny_models: dict[str, Path], secrets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is fetched with a token. The mirror, used with a login, has another file, and the job says so."""
    study = copy_repository(tmp_path / "study")
    other = tmp_path / f"mirror/blimp/data/{PARADIGM}.jsonl"
    other.parent.mkdir(parents=True)
    other.write_text("another file")
    with hostile_hub(tiny_models) as (hub, logins), serving(tmp_path / "mirror") as mirror:
        address = mirror.url.replace("://", f"://{NAME}:{PASSWORD}@")
        content = {
            "study": "secret",
            "corpora": {"source": "fetched", "mirror": address, "retries": 0, "timeout": 5},
            "tasks": {"paradigms": [PARADIGM]},
            "models": {"bert": {"family": "bert", "hub": {"id": "elsewhere/bert"}}},
        }
        (study / "study.yaml").write_text(yaml.safe_dump(content))
        for name, value in (clean_environment(hub.url, tmp_path / "home") | secrets).items():
            monkeypatch.setenv(name, value)
        targets = ["results/models/bert/model.json", f"results/corpora/fetched/paradigms/{PARADIGM}.jsonl"]
        done = snakemake(study, "--cores", "2", "--keep-going", *targets, configfile="study.yaml")
    assert done.returncode != 0 and f"(tried {mirror.url}/blimp/data/{PARADIGM}.jsonl)" in done.stdout, done.stdout
    log = (study / f"results/logs/fetch_corpus_file/{PARADIGM}.log").read_text()
    assert "from the start" in log and mirror.url in log, log
    assert (study / targets[0]).is_file() and set(logins) == {None} and f"Bearer {TOKEN}" in hub.tokens
    for secret in (TOKEN, NAME, PASSWORD):
        assert secret not in done.stdout
        assert not files_with(secret, study / "results", study / ".snakemake")


def test_reports_hold_no_secret(
    finished_study: Path, secrets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebuild the first page, whose parameters are the whole configuration, and a notebook with its page."""
    study = Path(shutil.copytree(finished_study, tmp_path / "study", symlinks=True))
    content = yaml.safe_load((study / SMOKE).read_text())
    content.setdefault("corpora", {})["mirror"] = f"https://{NAME}:{PASSWORD}@example.org/mirror"
    (study / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (study / "results/report/models.html").unlink()
    before = (study / "results/report/index.html").stat().st_mtime_ns
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    done = snakemake(study, "--cores", "2", "results/report/index.html", configfile="study.yaml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (study / "results/report/models.html").is_file()
    assert (study / "results/report/index.html").stat().st_mtime_ns > before
    for secret in (TOKEN, NAME, PASSWORD):
        assert secret not in done.stdout
        assert not files_with(secret, study / "results", study / ".snakemake")
    assert files_with("example.org/mirror", study / ".snakemake")
