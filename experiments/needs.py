"""What an experiment needs of the machine it runs on, and which of it is not there."""

import importlib.util
import os
import shutil
from collections.abc import Iterable

from experiments.runfile import data_folder
from gcnsys.errors import InputError

MODULES = {
    "dgl": "dgl", "ogb": "ogb", "pyg": "torch_geometric", "report": "matplotlib", "search": "optuna",
}  # fmt: skip
"""What an extra of gcnsys brings, by the name of the extra."""

MADE = {"reddit60k.npz": "make_reddit60k.py of that folder makes it"}
"""Files of the data folder that are not handed out."""


def missing(needs: Iterable[str]) -> str | None:
    """Why something cannot run here, or None if it can.

    Args:
        needs: files of the data folder (``cora.npz``), extras of gcnsys (``dgl``), ``root`` for an emulated
            cluster, ``gpu``, or memory in GiB (``6 GiB``).
    """
    return next((why for need in needs if (why := _missing(need)) is not None), None)


def _missing(need: str) -> str | None:
    if need == "root":
        return _no_cluster()
    if need == "gpu":
        return _no_gpu()
    if need.endswith(" GiB"):
        return _too_small(int(need.removesuffix(" GiB")))
    if need in MODULES:
        there = importlib.util.find_spec(MODULES[need]) is not None
        return None if there else f"{MODULES[need]} is not installed: pip install 'gcnsys[{need}]'"
    try:
        there = (data_folder() / need).exists()
    except InputError as error:
        return str(error)
    if there:
        return None
    made = f"; {MADE[need]}" if need in MADE else ""
    return f"{need} is not in the folder of real graphs{made}"


def _no_cluster() -> str | None:
    if os.geteuid() != 0:
        return "not root, which emulated networks need"
    tools = [tool for tool in ("ip", "tc", "nsenter", "unshare") if shutil.which(tool) is None]
    return f"{tools[0]} is missing, which emulated networks need" if tools else None


def _no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no GPU"


def _too_small(gib: int) -> str | None:
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 2**30
    try:  # what the kernel can give back counts as free
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        free = int(lines["MemAvailable"].split()[0]) / 2**20
    except (OSError, KeyError):
        pass
    return None if free >= gib else f"{gib} GiB of memory are needed, {free:.1f} are free"
