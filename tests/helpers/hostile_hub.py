"""A hub on loopback that lies: names, sums and commits that lead elsewhere, and files that another host has."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.helpers.hub_server import COMMIT, Hub, HubHandler, oid

OUT = "../../../../../escaped"


class HostileHandler(HubHandler):
    """What it does is said by the model's owner; `server.tokens` keeps what each request brought as a login."""

    server: HostileHub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.tokens.append(self.headers.get("Authorization"))
        parts = path.strip("/").split("/")
        listing = parts[:2] == ["api", "models"]
        owner = parts[2] if listing else parts[0]
        file = path.rsplit("/", 1)[1]
        if owner == "elsewhere" and not listing and file == "config.json":
            self._answer(302, b"", {"Location": f"{self.server.other}{path}"} | self._headers(file))
        elif owner == "names" and listing:
            self._list(["config.json", f"model-1/{OUT}-of-2.safetensors"], COMMIT)
        elif owner == "commit" and listing:
            self._list(["config.json"], OUT)
        elif owner == "sum" and not listing and file == "config.json":
            body = (self.server.models["bert"] / file).read_bytes()
            self._answer(200, body, self._headers(file) | {"ETag": f'"{OUT}"'})
        else:
            super().do_GET()

    do_HEAD = do_GET

    def _headers(self, file: str) -> dict[str, str]:
        return {"ETag": f'"{oid(self.server.models["bert"] / file)}"', "X-Repo-Commit": COMMIT}

    def _list(self, names: list[str], commit: str) -> None:
        content = {"id": "names/bert", "sha": commit, "siblings": [{"rfilename": name} for name in names]}
        if "/tree/" in self.path:
            content = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


class HostileHub(Hub):
    """A hub whose models are as honest as their owner's name; `other` is the address of the other host."""

    def __init__(self, models: dict[str, Path], other: str) -> None:
        super().__init__(models)
        self.RequestHandlerClass = HostileHandler
        self.other = other
        self.tokens: list[str | None] = []


@contextmanager
def other_host(folder: Path) -> Iterator[tuple[str, list[str | None]]]:
    """A host by another name that has the files of `folder`: its address, and the logins that it was sent."""
    logins: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers.get("Authorization"))
            body = (folder / self.path.rsplit("/", 1)[1]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if self.command == "GET" else b"")

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://localhost:{server.server_port}", logins
        server.shutdown()


@contextmanager
def hostile_hub(models: dict[str, Path]) -> Iterator[tuple[HostileHub, list[str | None]]]:
    """The lying hub, and the logins that the other host was sent."""
    with other_host(models["bert"]) as (other, logins), HostileHub(models, other) as hub:
        threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield hub, logins
        hub.shutdown()
