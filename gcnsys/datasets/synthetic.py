"""``synthetic:KIND[,key=value...]``: seeded random graphs, from a test's toy to the size of Reddit.

A benchmark graph must be learnable, but only through its neighbourhoods. So classes are planted as
communities: a share ``inside`` of the edges joins equal classes, features are a class's center plus
noise, and nodes may show another class's features (``mixed``) or carry a wrong label (``wrong``).
Degrees are even (``sbm``) or follow a power law (``reddit``, ``directed``).

Edges are drawn tile by tile (:mod:`gcnsys.datasets.tiles`) and features slab by slab, each from its
own random stream, straight into their place in memory (:func:`read`) or on disk (:func:`write_npy`).

Letters used in shapes: N nodes, E edges as stored, F features, C classes.
"""

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcnsys.datasets.recipe import Recipe, recipe
from gcnsys.datasets.tiles import EDGES, apportioned, fill_edges
from gcnsys.errors import InputError
from gcnsys.files import new_folder

Array = NDArray[Any]

_SLAB = 1 << 22  # features drawn at a time
_TAIL, _LEAST, _MOST = 1.5, 0.25, 100.0  # exponent and range of power-law weights
# Random streams. Trailing zeros do not tell two of NumPy's seeds apart, so none is the start of another.
_NODES, _CENTERS, _NOISE = 1, EDGES + 1, EDGES + 2


def read(argument: str) -> Mapping[str, Any]:
    """Make a graph in memory, holding little beside it.

    Returns:
        ``edge_index`` ``[2, E]`` int32, ``x`` ``[N, F]`` float32, ``y`` ``[N]`` int64, and three masks
        ``[N]`` bool of 66, 10 and 24 %; ``edge_weight`` ``[E]`` float32 if asked for, and
        ``is_symmetric`` unless directed.
    """
    plan = recipe(argument)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _check_room(plan, memory, f"synthetic:{argument}", "memory")
    arrays: dict[str, Array] = {name: np.empty(*form) for name, form in plan.forms().items()}
    return {**arrays, **_fill(plan, arrays)}


def write_npy(argument: str, folder: Path, *, overwrite: bool = False) -> None:
    """Make the graph of :func:`read` as a folder for ``npy:``, without ever holding it.

    Raises:
        InputError: the folder exists, or the disk has too little room.
    """
    plan = recipe(argument)
    with new_folder(folder, holding="edge_index.npy", overwrite=overwrite) as home:
        # A disk that fills up under a memory map would kill the process without a word.
        _check_room(plan, shutil.disk_usage(home).free, str(folder), "free disk")
        arrays: dict[str, Array] = {
            name: np.lib.format.open_memmap(home / f"{name}.npy", mode="w+", shape=shape, dtype=dtype)
            for name, (shape, dtype) in plan.forms().items()
        }
        for name, array in _fill(plan, arrays).items():
            np.save(home / f"{name}.npy", array, allow_pickle=False)


def _check_room(plan: Recipe, room: int, where: str, what: str) -> None:
    need = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in plan.forms().values())
    if need > room:
        gib = f"{need / 2**30:,.1f} GiB, but there is {room / 2**30:,.1f} GiB"
        raise InputError(f"{where}: the arrays need {gib} of {what}; ask for fewer nodes, edges or features")


def _fill(plan: Recipe, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Write the large arrays in place; return the small ones."""
    rng = plan.stream(_NODES)
    share = 1 / np.sqrt(np.arange(1, plan.classes + 1)) if plan.power_law else np.ones(plan.classes)
    sizes = 1 + apportioned(plan.nodes - plan.classes, share, np.full(plan.classes, plan.nodes))
    order = rng.permutation(plan.nodes).astype(np.int32)  # position -> node
    community = np.empty(plan.nodes, np.int64)
    community[order] = np.repeat(np.arange(plan.classes), sizes)
    weight = np.ones((2, plan.nodes))  # by position: as sender, as receiver
    if plan.power_law:
        tail = (1 - rng.random((1 + plan.directed, plan.nodes))) ** (-1 / _TAIL)
        weight[:] = np.minimum(tail - 1 + _LEAST, _MOST)
    fill_edges(plan, arrays, order, weight, np.concatenate([[0], np.cumsum(sizes)]))
    small: dict[str, Array] = {"y": _swapped(rng, community, plan.wrong, plan.classes)}
    _fill_features(plan, arrays["x"], _swapped(rng, community, plan.mixed, plan.classes))
    rank = rng.permutation(plan.nodes)
    train, val = max(1, round(0.66 * plan.nodes)), max(1, round(0.76 * plan.nodes))
    masks = rank < train, (train <= rank) & (rank < val), val <= rank
    small |= zip(("train_mask", "val_mask", "test_mask"), masks, strict=True)
    return small if plan.directed else {**small, "is_symmetric": np.array(True)}


def _swapped(rng: np.random.Generator, community: Array, share: float, classes: int) -> Array:
    """The community of every node ``[N]``, for a random share of them another one."""
    step = rng.integers(1, max(classes, 2), community.size)
    return np.where(rng.random(community.size) < share, (community + step) % classes, community)


def _fill_features(plan: Recipe, x: Array, shown: Array) -> None:
    center = plan.stream(_CENTERS).standard_normal((plan.classes, plan.features), np.float32)
    center *= np.float32(plan.spread)
    rows = max(1, _SLAB // plan.features)
    for low in range(0, plan.nodes, rows):
        slab = center[shown[low : low + rows]]
        slab += plan.stream(_NOISE, low).standard_normal(slab.shape, np.float32)
        x[low : low + rows] = slab
