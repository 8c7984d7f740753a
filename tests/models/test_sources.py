"""Models from the hub or a folder: what is good is recorded, what is not is said in one line.

The hub is a real HTTP server on loopback that answers the endpoints huggingface_hub asks, for a tiny saved model;
each case runs in its own process, because huggingface_hub reads its environment once.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kn_thesis.errors import UserError
from kn_thesis.models.sources import record_path_model
from tests.helpers.hub_server import COMMIT, Hub

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; sys.path.insert(0, 'scripts')\n"
    "from kn_thesis.errors import UserError\n"
    "from kn_thesis.models.sources import record_hub_model\n"
    "try: record_hub_model(sys.argv[1], sys.argv[2] or None, sys.argv[3], sys.argv[4])\n"
    "except UserError as error: sys.exit('ERROR ' + str(error))\n"
)


def record(endpoint: str, cache: Path, folder: Path, identifier: str, revision: str, family: str, **environment: str):
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING")) and not k.lower().endswith("_proxy")
    }
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, identifier, revision, family, str(folder)],
        cwd=ROOT,
        env=clean
        | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_good_model_is_recorded_with_its_commit_and_serves_offline_after(hub: Hub, tmp_path: Path) -> None:
    job = record(hub.url, tmp_path / "cache", tmp_path / "out", "owner/bert", "v1", "bert")
    assert job.returncode == 0, job.stderr
    written = json.loads((tmp_path / "out/model.json").read_text())
    assert written == {"family": "bert", "source": "hub", "location": "owner/bert", "revision": COMMIT}
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [
        "model.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (hub.models["bert"] / "tokenizer.json").read_bytes()
    assert json.loads((tmp_path / "out/tokenizer_config.json").read_text())["mask_token"] == "[MASK]"
    snapshot = tmp_path / "cache/hub/models--owner--bert/snapshots" / COMMIT
    assert (snapshot / "model.safetensors").is_file()
    assert not any(path.endswith(("notes.txt", "msgpack")) for path in hub.asked)

    again = record(hub.url, tmp_path / "cache", tmp_path / "off", "owner/bert", "v1", "bert", HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "off/model.json").read_text()) == written


CASES = {
    "gated, not logged in": ("gated401/bert", "", "bert", ["gated", "HF_TOKEN"]),
    "gated, no access": ("gated403/bert", COMMIT, "bert", ["gated", "ask for access"]),
    "refused": ("forbidden/bert", "", "bert", ["forbidden/bert", "HF_TOKEN"]),
    "hub in trouble": ("broken/bert", "", "bert", ["answers 500", "try again later"]),
    "no such model": ("owner/nothing", "", "bert", ["no model owner/nothing", "check the id"]),
    "no such revision": ("owner/bert", "v9", "bert", ["no revision 'v9'", "commit, tag or branch"]),
    "pickled weights": ("owner/pickle", "", "gpt2", ["safetensors", "never loaded"]),
    "other family": ("owner/gpt2", "", "llama", ["'gpt2', not 'llama'"]),
    "no id": ("owner//bert", "", "bert", ["not the id", "owner/name"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_on_the_hub_is_one_line(case: str, hub: Hub, tmp_path: Path) -> None:
    identifier, revision, family, said = CASES[case]
    is_one_line(record(hub.url, tmp_path / "cache", tmp_path / "out", identifier, revision, family), said)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_offline_without_a_copy(hub: Hub, tmp_path: Path) -> None:
    job = record(hub.url, tmp_path / "cache", tmp_path / "out", "owner/bert", "", "bert", HF_HUB_OFFLINE="1")
    is_one_line(job, ["HF_HUB_OFFLINE", "unset it"])


def test_no_route(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    is_one_line(record(closed, tmp_path / "cache", tmp_path / "out", "owner/bert", "", "bert"), ["cannot be reached"])


def is_one_line(job: subprocess.CompletedProcess[str], said: list[str]) -> None:
    assert job.returncode == 1, job.stderr
    assert "Traceback" not in job.stderr
    message = [line for line in job.stderr.splitlines() if line.startswith("ERROR")]
    assert len(message) == 1 and job.stderr.rstrip().endswith(message[0]), job.stderr
    assert all(part in message[0] for part in said), message[0]


def test_folder_is_recorded_and_left_alone(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    before = sorted(tiny_models["gpt2"].iterdir())
    record_path_model(tiny_models["gpt2"], "gpt2", tmp_path / "out")
    written = json.loads((tmp_path / "out/model.json").read_text())
    assert written == {"family": "gpt2", "source": "path", "location": str(tiny_models["gpt2"]), "revision": None}
    assert sorted(tiny_models["gpt2"].iterdir()) == before


def test_folder_in_shards_needs_all_of_them(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    sharded = Path(shutil.copytree(tiny_models["gpt2"], tmp_path / "sharded"))
    tensors = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(shards.values()):
        save_file({n: tensors[n] for n in names if shards[n] == shard}, sharded / shard)
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    record_path_model(sharded, "gpt2", tmp_path / "out")
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="model-00002-of-00002"):
        record_path_model(sharded, "gpt2", tmp_path / "out")


def test_slow_tokenizer_is_converted(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    slow = Path(shutil.copytree(tiny_models["bert"], tmp_path / "slow"))
    fast = Tokenizer.from_file(str(slow / "tokenizer.json"))
    vocabulary = sorted(fast.get_vocab(), key=fast.token_to_id)
    (slow / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (slow / "tokenizer.json").unlink()
    record_path_model(slow, "bert", tmp_path / "out")
    made = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    assert made.encode("The old king admires this vase.").ids == fast.encode("The old king admires this vase.").ids


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
        (lambda f: (f / "config.json").write_text('{"model_type": "x", "auto_map": {}}'), "never run"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json"),
        (lambda f: (f / "model.safetensors").unlink(), "safetensors"),
        (shutil.rmtree, "no folder"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(
    break_it, said: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_models["gpt2"], tmp_path / "model"))
    break_it(folder)
    with pytest.raises(UserError, match=said) as caught:
        record_path_model(folder, "gpt2", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
