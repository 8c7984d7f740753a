"""A program for tests: rule scripts run twice in one process, without a limit of memory and then with little of it.

    python tests/helpers/limited_memory.py JOBS.json

JOBS.json: a list of jobs, each with script, log, params, and paths of input and output; "{run}" in log and output
becomes "free" or "limited". Before that each job runs once with its input "small", so that libraries have the memory
that they keep. The limit is what the process has then, and a share of what the job took when it was free.
"""

from __future__ import annotations

import ctypes
import json
import re
import resource
import runpy
import sys
from pathlib import Path
from typing import Any

SHARE = 0.3


class Named(dict[str, Any]):
    """Entries by attribute, as Snakemake has them."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def mebibytes(what: str) -> float:
    """Of this process, by the name in /proc: VmData (private and writable), VmHWM (most at once) or VmRSS."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) / 1024


def run(job: dict[str, Any], name: str) -> None:
    """Run a job's script as Snakemake would."""
    parts = {part: Named(job[part]) for part in ("input", "output", "params")}
    if name == "warm":
        parts["input"] |= {key: job["small"] for key in ("prompts",)}
    for key, path in parts["output"].items():
        parts["output"][key] = path.format(run=name)
    snakemake = Named(parts, wildcards={}, log=[job["log"].format(run=name)])
    runpy.run_path(job["script"], init_globals={"snakemake": snakemake})


def peak_of(job: dict[str, Any]) -> float:
    """MiB that a job takes beside what is there before it."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the most at once is counted from here on
    before = mebibytes("VmRSS")
    run(job, "free")
    return mebibytes("VmHWM") - before


for one in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    run(one, "warm")
    peak = peak_of(one)
    ctypes.CDLL(None).malloc_trim(0)
    limit = mebibytes("VmData") + SHARE * peak
    print(f"{one['script']}: {peak:.0f} MiB at most, limited to {SHARE * peak:.0f} MiB more than there are")
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**20), resource.RLIM_INFINITY))
    run(one, "limited")
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
