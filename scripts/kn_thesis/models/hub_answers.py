"""Answers of the hub whose words become names of files in its cache: looked at before huggingface_hub uses them.

Of names of files the library checks itself that they stay in the cache; of sums (ETag) and commits it does not (2.4.0).
"""

from __future__ import annotations

import re
from typing import Any

NAMED_BY = ("etag", "x-linked-etag", "x-repo-commit")
LEADS_OUT = re.compile(r"[/\\\0]|\.\.")


def guard() -> None:
    """Have huggingface_hub's client look at each answer; its settings are otherwise as they were."""
    from huggingface_hub import get_session, set_client_factory

    usual = get_session()
    if check_answer in usual.event_hooks["response"]:
        return
    kind, asks = type(usual), list(usual.event_hooks["request"])

    def client() -> Any:
        return kind(event_hooks={"request": asks, "response": [check_answer]}, follow_redirects=True, timeout=None)

    set_client_factory(client)


def check_answer(answer: Any) -> None:
    """Raise ValueError for an answer on a file or a model whose sum or commit would lead out of the cache."""
    words = [answer.headers.get(name) for name in NAMED_BY] if answer.request.method == "HEAD" else []
    if "/api/models/" in answer.request.url.path and answer.is_success:
        answer.read()
        content = answer.json()
        words += [content.get("sha")] if isinstance(content, dict) else []
    for word in words:
        if word and LEADS_OUT.search(str(word).removeprefix("W/")):
            raise ValueError(f"the hub names a sum or commit {str(word)[:80]!r}")
