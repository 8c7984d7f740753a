"""Which GPU a process takes on a machine with several: one that no other process of ours has.

Snakemake counts GPUs (`--resources gpu=4`), but tells no job which one is its own. A lock on a file does: the system
lets go of it when the process ends, however it ends. SLURM shows a job its own GPUs only; then there is one to take.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO


@dataclass
class Claim:
    """The number of a device among those that the process sees; it is kept for as long as this object lives.

    `lock` is None when every device was taken and one has to be shared.
    """

    number: int
    lock: IO[str] | None = field(default=None, repr=False)


def claim_devices(names: Sequence[str], count: int = 1, folder: Path | None = None) -> list[Claim]:
    """The first devices that nobody has claimed, then the first of the others: so many in all, as far as there are.

    names: what tells each device from all others on this machine (a GPU's UUID), in the order of their numbers.
    folder: where the locks lie; a folder of the user's among the system's temporary ones unless told otherwise.
    Raises ValueError without a name.
    """
    if not names:
        raise ValueError("no device to claim")
    import fcntl

    folder = folder or Path(tempfile.gettempdir()) / f"kn-thesis-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    claimed: list[Claim] = []
    shared: list[Claim] = []
    for number, name in enumerate(names):
        if len(claimed) == count:
            break
        file = (folder / f"{name}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            shared.append(Claim(number))
        else:
            claimed.append(Claim(number, file))
    return [*claimed, *shared][:count]


def gpu_names() -> list[str]:
    """A name for each GPU that this process sees, the same in all processes: its UUID."""
    import torch

    return [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]
