"""A SLURM cluster of one node, this machine, for the time of a `with` block; from Debian's slurm-wlm and munge.

It has no accounting database. All it writes lies in one folder, but for munge's files and two links in /etc/slurm: a
job's environment is stripped of SLURM's variables on the way, and its commands look for their configuration there.
To try something by hand: `python tests/helpers/slurm_cluster.py FOLDER COMMAND ...` runs a command in such a cluster.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol")
SYSTEM = Path("/etc/slurm")
PATIENCE = 300.0  # seconds, until a daemon answers or has gone

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=2,batch_sched_delay=0
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started on this machine, and what to do about it; None when one can."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=search) is None]
    if missing:
        return f"SLURM is not on this machine ({', '.join(missing)}): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "SLURM's daemons are started by root only"
    if (SYSTEM / "slurm.conf").exists() and subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0:
        return f"this machine belongs to a cluster already ({SYSTEM}/slurm.conf)"
    if (SYSTEM / "slurm.conf").exists() and not (SYSTEM / "slurm.conf").is_symlink():
        return f"this machine has a configuration of its own for SLURM ({SYSTEM}/slurm.conf)"
    return None


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd in `folder`; the environment in which commands find this cluster.

    The node has this machine's cores and memory, and two GPUs by name (no device is behind them). Jobs that still run
    at the end are cancelled. Raises RuntimeError with the end of a daemon's log when one does not come up.
    """
    folder = folder.resolve()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    # Munge's own user has to reach its folder, and pytest's folders are closed to others.
    munge = Path(tempfile.mkdtemp(prefix="munge-"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            munge=munge,
            host=socket.gethostname().split(".")[0],
            control_port=_free_port(),
            node_port=_free_port(),
            cpus=os.cpu_count(),
            memory=int(memory * 0.95),
        )
    )
    # The plugin for GPUs wants a device file for each; nobody opens these.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    environment = os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    with ExitStack() as running:
        for name in ("slurm.conf", "gres.conf"):
            (SYSTEM / name).unlink(missing_ok=True)  # of a cluster that was killed
            (SYSTEM / name).symlink_to(folder / name)
            running.callback((SYSTEM / name).unlink)
        running.callback(shutil.rmtree, munge)
        _start_munge(munge, environment, running)
        for daemon in ("slurmctld", "slurmd"):
            process = subprocess.Popen(
                [daemon, "-D"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            running.callback(_stop, process)
        _wait(
            "a node that is idle", lambda: "idle" in _said(["sinfo", "--noheader", "--format=%t"], environment), folder
        )
        running.callback(_cancel_all, environment)
        yield environment


def _start_munge(folder: Path, environment: dict[str, str], running: ExitStack) -> None:
    """SLURM's daemons know each other by munge: one of its own, with a key of its own, run as Debian's user for it."""
    key = folder / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    options = {"key-file": key, "socket": folder / "socket", "pid-file": folder / "pid", "log-file": folder / "log"}
    options["seed-file"] = folder / "seed"
    # The folder may lie in one that others can write to, such as /tmp: --force.
    process = subprocess.Popen(
        ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in options.items())],
        user="munge",
        group="munge",
        extra_groups=[],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors").open("w"),
    )
    running.callback(_stop, process)
    _wait("munge's socket", (folder / "socket").is_socket, folder)


def _cancel_all(environment: dict[str, str]) -> None:
    subprocess.run(["scancel", "--me"], env=environment, check=False)
    _wait("jobs that have gone", lambda: not _said(["squeue", "--noheader"], environment).strip(), None)


def _said(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, text=True, capture_output=True).stdout


def _wait(what: str, there: Callable[[], bool], folder: Path | None) -> None:
    """Until `there()` is true; RuntimeError after a while."""
    end = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > end:
            logs = sorted(path for path in folder.rglob("*") if path.name.endswith(("log", "errors"))) if folder else []
            ends = "\n".join(f"{path.name}: {path.read_text()[-600:]}" for path in logs)
            raise RuntimeError(f"SLURM: {what} did not come in {PATIENCE:.0f} s\n{ends}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> int:
    """Run a command in a cluster of its own; its exit code."""
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 1
    with cluster(Path(sys.argv[1])) as environment:
        return subprocess.run(sys.argv[2:], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
