"""Each process gets a GPU of its own, for as long as it lives and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kn_thesis.models.devices import claim_devices

HOLD = """
import sys
from pathlib import Path
from kn_thesis.models.devices import claim_devices
[claim] = claim_devices(sys.argv[2:], folder=Path(sys.argv[1]))
print(claim.number, claim.lock is not None, flush=True)
sys.stdin.read()
"""
NAMES = ["GPU-a", "GPU-b", "GPU-c"]


def holder(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that has claimed a device, and what it says of it."""
    command = [sys.executable, "-c", HOLD, str(folder), *NAMES]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2] / "scripts", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def test_processes_share_no_device_while_there_are_enough(tmp_path: Path) -> None:
    held = [holder(tmp_path) for _ in range(4)]
    try:
        assert [said for _, said in held[:3]] == ["0 True", "1 True", "2 True"]
        assert held[3][1] == "0 False"  # one has to be shared
        held[1][0].send_signal(signal.SIGKILL)
        held[1][0].wait()
        assert claim_devices(NAMES, folder=tmp_path)[0].number == 1
    finally:
        for process, _ in held:
            process.kill()
            process.communicate()


def test_a_device_is_free_again_when_its_claim_is_gone(tmp_path: Path) -> None:
    [first] = claim_devices(NAMES, folder=tmp_path)
    assert claim_devices(NAMES, folder=tmp_path)[0].number == 1
    assert first.number == 0
    del first
    assert claim_devices(NAMES, folder=tmp_path)[0].number == 0


def test_without_a_device_there_is_none_to_claim(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no device"):
        claim_devices([], folder=tmp_path)


@pytest.mark.parametrize(("gpus", "said"), [(0, ""), (1, ""), (4, "--resources gpu=4")])
def test_make_lets_as_many_jobs_run_as_there_are_gpus(gpus: int, said: str, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    lines = "".join(f"echo 'GPU {number}: Some Device (UUID: GPU-{number})'\n" for number in range(gpus))
    program.write_text(f"#!/bin/sh\n{lines}")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    root = Path(__file__).parents[2]
    done = subprocess.run(["make", "--dry-run", "study"], cwd=root, env=environment, text=True, capture_output=True)
    (command,) = (line for line in done.stdout.splitlines() if "snakemake --cores" in line)
    assert said in command and ("--resources" in command) == bool(said)
