"""An HTTP server on loopback that serves files as well, or as badly, as a test asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Cut:
    """The connection closes before this byte of the file."""

    byte: int


@dataclass
class Server:
    """`plan` is what the server does to its first requests, one entry each; after them it serves well.

    Entries: "ok", "cut" (half of what is asked, then the connection closes), "corrupt" (one byte changed),
    "long" (bytes after the end), "slow" (silence), "stall" (half, then silence), a status as a number, or `Cut`.
    `asked` keeps the Range header of each request (None where there was none).
    """

    root: Path
    url: str
    plan: list[str | int | Cut] = field(default_factory=list)
    ranges: bool = True
    silence: float = 1.5
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serving(root: Path, plan: Sequence[str | int | Cut] = (), ranges: bool = True) -> Iterator[Server]:
    """A server of the folder `root` on a free port of loopback."""
    state = Server(root, "", list(plan), ranges)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append(asked)
            act = state.plan.pop(0) if state.plan else "ok"
            if act == "slow":
                time.sleep(state.silence)
                return
            if isinstance(act, int):
                self.send_error(act)
                return
            path = state.root / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            body = path.read_bytes()
            start = 0
            if asked and state.ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            if act == "corrupt":
                body = body[:-2] + bytes([body[-2] ^ 1]) + body[-1:]
            if act == "long":
                body += b"more"
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            rest = body[start:]
            if isinstance(act, Cut):
                rest = body[start : max(act.byte, start)]
            try:
                self.wfile.write(rest[: len(rest) // 2] if act in ("cut", "stall") else rest)
                self.wfile.flush()
            except ConnectionError:
                return  # the client has seen enough
            if act == "stall":
                time.sleep(state.silence)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
