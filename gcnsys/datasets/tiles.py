"""Random edges with planted communities, drawn tile by tile.

Nodes get positions, community by community. Pairs of positions are cut into tiles of at most
``_ROWS`` rows, each with a number of edges fixed beforehand. So every tile is drawn and freed of
duplicates on its own, from its own random stream, in little memory, and has its place in the final
arrays, be they in memory or on disk.

Letters used in shapes: N nodes, E edges as stored, T tiles, m edges of a tile.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcnsys.datasets.recipe import Recipe

Array = NDArray[Any]

EDGES = 2  # the random stream of edges
_ROWS = 4096  # of one tile
_CROWDED = 0.3  # share of a tile's pairs from which drawing until they differ is slow


def fill_edges(plan: Recipe, arrays: Mapping[str, Array], order: Array, weight: Array, bounds: Array) -> None:
    """Write ``edge_index`` (and ``edge_weight``) in place.

    Args:
        plan: what to make.
        arrays: where to.
        order: ``[N]`` the node at each position.
        weight: ``[2, N]`` by position, as sender and as receiver.
        bounds: ``[C + 1]`` where communities start.
    """
    tiles = _tiles(bounds, plan.directed)
    counts = _counts(plan, tiles, weight)
    starts = np.cumsum(counts) - counts
    for number in np.flatnonzero(counts).tolist():
        count, at = int(counts[number]), int(starts[number])
        rng = plan.stream(EDGES, number)
        ends = order[_drawn(rng, tiles[:, number].tolist(), count, weight, plan.directed)]  # [2, m]
        values = rng.random(count, np.float32) + np.float32(0.5)
        for start in (at,) if plan.directed else (at, plan.edges + at):
            arrays["edge_index"][:, start : start + count] = ends
            if plan.weights:
                arrays["edge_weight"][start : start + count] = values
            ends = ends[::-1]


def _tiles(bounds: Array, directed: bool) -> Array:
    """Pairs of positions, cut into tiles ``[6, T]``: row and column ranges, community, flipped.

    A tile whose rows are its columns is a square: it leaves out pairs of a position with itself and,
    undirected, holds each pair once. Any other pair of positions lies in one tile, or if directed in
    two: one where rows send to columns, and a flipped one. Community -1 is between communities.
    """
    tiles = []
    last = int(bounds[-1])
    for number, (start, end) in enumerate(itertools.pairwise(bounds.tolist())):
        for low in range(start, end, _ROWS):
            high = min(low + _ROWS, end)
            tiles.append((low, high, low, high, number, 0))
            for flipped in range(1 + directed):
                tiles.append((low, high, high, end, number, flipped))
                tiles.append((low, high, end, last, -1, flipped))
    return np.array(tiles).T


def _counts(plan: Recipe, tiles: Array, weight: Array) -> Array:
    """How many edges each tile gets, ``[T]``: the share ``inside`` within communities, the rest between.

    A community's edges are in proportion to its nodes' weight, not to its pairs: large ones would
    be as much denser as they are larger.
    """
    low, high, left, right, community, flipped = tiles
    square = low == left
    once = np.where(square & (not plan.directed), 0.5, 1.0)
    sums = np.concatenate([np.zeros((2, 1)), np.cumsum(weight, 1)], 1)  # [2, N + 1]
    own = sums[flipped, high] - sums[flipped, low]
    mass = once * own * (sums[1 - flipped, right] - sums[1 - flipped, left])
    room = (once * (high - low) * (right - left - square)).astype(np.int64)
    mass[room == 0] = 0
    group = np.where(community >= 0, community, plan.classes)
    within = np.bincount(group, mass, plan.classes + 1)
    heft: Array = np.bincount(group[square], own[square], plan.classes + 1) * (within > 0)
    heft *= plan.inside / (heft.sum() or 1)
    heft[-1] = 1 - plan.inside
    return apportioned(plan.edges, heft[group] * mass / np.where(within > 0, within, 1)[group], room)


def apportioned(total: int, share: Array, room: Array) -> Array:
    """Whole numbers that add up to ``total``: by ``share`` but at most ``room``, the rest where room is."""
    counts = np.zeros(share.size, np.int64)
    while short := total - int(counts.sum()):
        left = room - counts
        ideal = np.where(left > 0, share, 0.0)
        if not ideal.any():
            ideal = left.astype(np.float64)
        # Rounding running sums loses nothing and favors nobody.
        sums = np.cumsum(ideal)
        ends = np.rint(sums * (short / sums[-1])).astype(np.int64)
        counts += np.minimum(np.diff(ends, prepend=0), left)
    return counts


def _drawn(rng: np.random.Generator, tile: list[int], count: int, weight: Array, directed: bool) -> Array:
    """So many different pairs of a tile, ``[2, m]`` positions (sender, receiver), likelier for heavier nodes.

    Duplicates are drawn again, each time with flatter weights: where hubs are joined to all there
    is, the missing edges go elsewhere.
    """
    low, high, left, right, _, flipped = tile
    square, width = low == left, right - left
    rows, cols = weight[flipped, low:high], weight[1 - flipped, left:right]
    if count > _CROWDED * rows.size * cols.size * (0.5 if square and not directed else 1.0):
        keys = _raced(rng, rows, cols, count, square, directed)
    else:
        keys, power = np.empty(0, np.int64), 1.0
        while short := count - keys.size:
            row, col = (_picked(rng, np.cumsum(side**power), short) for side in (rows, cols))
            if square and not directed:
                row, col = np.minimum(row, col), np.maximum(row, col)
            if square:
                row, col = row[row != col], col[row != col]
            keys = np.sort(np.concatenate([keys, row * width + col]))
            keys = keys[np.diff(keys, prepend=-1) > 0]
            power /= 2
    row, col = np.divmod(keys, width)
    pairs = np.stack([row + low, col + left])
    return pairs[::-1] if flipped else pairs


def _picked(rng: np.random.Generator, sums: Array, count: int) -> Array:
    """Places ``[m]``, drawn with the probabilities that running sums give."""
    at: Array = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
    return at.clip(max=sums.size - 1)


def _raced(
    rng: np.random.Generator, rows: Array, cols: Array, count: int, square: bool, directed: bool
) -> Array:
    """Keys ``[m]`` from a crowded tile: all its pairs race, heavy ones faster, and the first ones stay."""
    arrival = rng.standard_exponential((rows.size, cols.size), np.float32)
    arrival /= rows[:, None].astype(np.float32)
    arrival /= cols.astype(np.float32)
    if square:
        arrival[np.eye(rows.size, dtype=bool) if directed else np.tri(rows.size, dtype=bool)] = np.inf
    keys: Array = np.argpartition(arrival.ravel(), count - 1)[:count]
    return np.sort(keys)
