"""Models from the hub or a folder: what is good is recorded, what is not is said in one line.

The hub is a real HTTP server on loopback that answers the endpoints huggingface_hub asks, for a tiny saved model;
each case runs in its own process, because huggingface_hub reads its environment once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from kn_thesis.errors import UserError
from kn_thesis.models.source import record_path_model
from kn_thesis.models.tokenization import save_tokenizer, train_tokenizer
from kn_thesis.models.train import Settings, build_model

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = (
    "import sys; sys.path.insert(0, 'scripts')\n"
    "from kn_thesis.errors import UserError\n"
    "from kn_thesis.models.source import record_hub_model\n"
    "try: record_hub_model(sys.argv[1], sys.argv[2] or None, sys.argv[3], sys.argv[4])\n"
    "except UserError as error: sys.exit('ERROR ' + str(error))\n"
)


def make_model(folder: Path, family: str) -> Path:
    tokenizer = train_tokenizer(family, ["The old king admires this vase."] * 3, 400)
    special = {"pad": None, "bos": None, "eos": None}
    build_model(family, Settings(1, 16, 2, 16), tokenizer.get_vocab_size(), special).save_pretrained(folder)
    save_tokenizer(tokenizer, family, folder, 128)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders by name: gpt2, bert, and a gpt2 with pickled weights and nothing else."""
    root = tmp_path_factory.mktemp("models")
    found = {family: make_model(root / family, family) for family in ("gpt2", "bert")}
    found["pickle"] = Path(shutil.copytree(found["gpt2"], root / "pickle"))
    (found["pickle"] / "model.safetensors").rename(found["pickle"] / "pytorch_model.bin")
    (found["bert"] / "notes.txt").write_text("not wanted")
    (found["bert"] / "flax_model.msgpack").write_text("not wanted")
    return found


class Hub(ThreadingHTTPServer):
    """A hub with a few models under their names; `asked` collects the paths of all requests."""

    def __init__(self, models: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.models = models
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            owner, name, what = parts[2], parts[3], parts[4:]
            revision = what[1] if len(what) > 1 else "main"
            if self._refused(f"{owner}/{name}", revision, metadata=True):
                return
            files = sorted(self.server.models[name].iterdir())
            if what[:1] == ["tree"]:
                content = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": oid(f)} for f in files]
            else:
                siblings = [{"rfilename": f.name} for f in files]
                content = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})
            return
        if len(parts) != 5:
            self._answer(404, b"", {})
            return
        owner, name, _, revision, file = parts
        if self._refused(f"{owner}/{name}", revision, metadata=False):
            return
        found = self.server.models[name] / file
        if not found.is_file():
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{oid(found)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self._answer(200, found.read_bytes(), headers)

    do_HEAD = do_GET

    def _refused(self, identifier: str, revision: str, metadata: bool) -> bool:
        owner, name = identifier.split("/")
        if owner == "gated401" and not metadata:
            self._answer(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        elif owner == "gated403" and not metadata:
            self._answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        elif owner == "forbidden":
            self._answer(403, b"", {"X-Error-Message": "Your token may not read this."})
        elif owner == "broken":
            self._answer(500, b"", {})
        elif name not in self.server.models:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", "v1", COMMIT):
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return False
        return True

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def hub(models: dict[str, Path]) -> Iterator[Hub]:
    with Hub(models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


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
        timeout=120,
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
    "no id": ("owner//bert", "", "bert", ["no id", "owner/name"]),
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


def test_folder_is_recorded_and_left_alone(models: dict[str, Path], tmp_path: Path) -> None:
    before = sorted(models["gpt2"].iterdir())
    record_path_model(models["gpt2"], "gpt2", tmp_path / "out")
    written = json.loads((tmp_path / "out/model.json").read_text())
    assert written == {"family": "gpt2", "source": "path", "location": str(models["gpt2"]), "revision": None}
    assert sorted(models["gpt2"].iterdir()) == before


def test_folder_in_shards_needs_all_of_them(models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    sharded = Path(shutil.copytree(models["gpt2"], tmp_path / "sharded"))
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


def test_slow_tokenizer_is_converted(models: dict[str, Path], tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    slow = Path(shutil.copytree(models["bert"], tmp_path / "slow"))
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
def test_what_is_wrong_with_a_folder_is_one_line(break_it, said: str, models: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models["gpt2"], tmp_path / "model"))
    break_it(folder)
    with pytest.raises(UserError, match=said) as caught:
        record_path_model(folder, "gpt2", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
