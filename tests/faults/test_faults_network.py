"""Connections that are cut at any byte: the final file has the right bytes, and a partial one is never used."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from kn_thesis.corpora.fetch import CHUNK, PinnedFile, fetch
from kn_thesis.errors import UserError
from tests.helpers.hub_server import COMMIT, Hub
from tests.helpers.mirror_server import Cut, serving
from tests.models.test_sources import is_one_line, record


@pytest.mark.parametrize("ranges", [True, False], ids=["resumes", "starts again"])
@pytest.mark.parametrize("seed", range(5))
def test_a_corpus_file_survives_cuts_at_any_byte(tmp_path: Path, seed: int, ranges: bool) -> None:
    chance = random.Random(seed)
    body = chance.randbytes(chance.randrange(1, 12 * CHUNK))
    (tmp_path / "blimp").mkdir()
    (tmp_path / "blimp/file.jsonl").write_bytes(body)
    file = PinnedFile("blimp", "file.jsonl", "http://nowhere/", len(body), hashlib.sha256(body).hexdigest())
    # Before the first byte, before the last, and some between; cuts behind what is there already give nothing.
    cuts = [0, *(chance.randrange(len(body)) for _ in range(3)), len(body) - 1]
    target = tmp_path / "results/file.jsonl"
    with serving(tmp_path, [Cut(byte) for byte in cuts], ranges=ranges) as server:
        with pytest.raises(UserError, match="the connection was cut"):
            fetch(file, target, mirror=server.url, retries=2, first_delay=0)
        assert not target.exists()
        fetch(file, target, mirror=server.url, retries=5, first_delay=0)  # a later run
        assert len(server.asked) <= len(cuts) + 1
    assert target.read_bytes() == body and list(target.parent.iterdir()) == [target]


def test_a_model_survives_cuts_at_any_byte(hub: Hub, tmp_path: Path) -> None:
    weights = (hub.models["gpt2"] / "model.safetensors").read_bytes()
    chance = random.Random(3)
    copy = tmp_path / "cache/hub/models--owner--gpt2/snapshots" / COMMIT / "model.safetensors"

    # Cut for good: one line, and no part takes the file's name.
    hub.cuts = [chance.randrange(len(weights)), *[0] * 20]
    job = record(hub.url, tmp_path / "cache", tmp_path / "out", "owner/gpt2", "", "gpt2")
    is_one_line(job, ["the download of owner/gpt2 failed", "run again"])
    assert not copy.exists() and not (tmp_path / "out/model.json").exists()

    # Cut once more, then whole.
    hub.cuts = [chance.randrange(len(weights) // 4)]
    job = record(hub.url, tmp_path / "cache", tmp_path / "out", "owner/gpt2", "", "gpt2")
    assert job.returncode == 0, job.stderr
    assert not hub.cuts and copy.read_bytes() == weights and (tmp_path / "out/model.json").exists()
