"""A hub on loopback: it answers the endpoints that huggingface_hub asks, for tiny models in folders."""

from __future__ import annotations

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kn_thesis.models.tokenizer_training import save_tokenizer, train_tokenizer
from kn_thesis.models.train import Settings, build_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_model(folder: Path, family: str) -> Path:
    tokenizer = train_tokenizer(family, ["The old king admires this vase."] * 3, 400)
    special = {"pad": None, "bos": None, "eos": None}
    build_model(family, Settings(1, 16, 2, 16), tokenizer.get_vocab_size(), special).save_pretrained(folder)
    save_tokenizer(tokenizer, family, folder, 128)
    return folder


class Hub(ThreadingHTTPServer):
    """A hub with a few models under their names; `asked` collects the paths of all requests.

    `cuts`: how many bytes each of the next answers that hold weights has before the connection is cut.
    """

    def __init__(self, models: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.models = models
        self.asked: list[str] = []
        self.cuts: list[int] = []

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
        body, start = found.read_bytes(), 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        weights = file.endswith(".safetensors") and self.command == "GET"
        cut = self.server.cuts.pop(0) if weights and self.server.cuts else None
        self._answer(206 if start else 200, body[start:], headers, cut)

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

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        self.close_connection |= cut is not None

    def log_message(self, *_: object) -> None:
        pass


def oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
