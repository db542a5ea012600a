"""Runs on an emulated cluster: what rank 0 printed, and what the ranks' network devices counted."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcnsys.errors import GcnsysError, InputError

SCRIPT = Path(__file__).resolve().parents[1] / "launch/emulated_cluster.sh"


@dataclass(frozen=True, slots=True)
class Counters:
    """What the ranks' network devices counted from the start of torchrun to the end of the last rank.

    Attributes:
        transmitted: bytes, by rank: payload, headers, acknowledgements and what torchrun itself says.
        received: likewise.
        seconds: the whole took.
    """

    transmitted: list[int]
    received: list[int]
    seconds: float


def on_cluster(
    num_ranks: int, rate: str, arguments: Sequence[str], *, latency: str = "0", timeout: float | None = None
) -> tuple[dict[str, Any], Counters]:
    """Let torchrun run a command that prints one JSON object on every rank of an emulated cluster.

    Args:
        num_ranks: each is a machine of its own.
        rate: of its link, such as ``1gbit``.
        arguments: of torchrun, such as ``["-m", "gcnsys", "train", "partitions/mine", "--json"]``.
        latency: of a packet from one machine to another, such as ``1ms``.
        timeout: in seconds; nothing is left running after it.

    Returns:
        The object that rank 0 printed, and the counters.

    Raises:
        InputError: the cluster cannot be made here, or not like this.
        GcnsysError: a rank failed.
        subprocess.TimeoutExpired: it took longer.
    """
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as folder:
        counters = Path(folder) / "counters.json"
        here = str(Path(sys.executable).parent)  # the ranks are to find this Python's gcnsys
        environment = os.environ | {"COUNTERS": str(counters), "PATH": f"{here}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", str(SCRIPT), str(num_ranks), rate, latency, "--", *arguments],
            env=environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        if done.returncode == 2:
            raise InputError(done.stderr.strip().splitlines()[-1])
        if done.returncode != 0:
            raise GcnsysError(f"a rank failed with code {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout), Counters(**json.loads(counters.read_text()))
