"""Ids of nodes: checked, numbered anew in the order in which they come, counted.

Letters: n nodes, e columns, v names.
"""

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import offsets
from gcnsys.kernels.backend import core
from gcnsys.kernels.neighbours import source_words


def checked_nodes(name: str, nodes: Tensor, num_nodes: int) -> Tensor:
    """Ids of nodes, each once, as int64.

    Raises:
        InputError: they are not integers of one dimension, outside the graph, or one comes twice.
    """
    if nodes.ndim != 1 or nodes.dtype.is_floating_point or nodes.dtype == torch.bool:
        raise InputError(f"{name} must be a row of integers, got {nodes.dtype} of shape {list(nodes.shape)}")
    nodes = nodes.long().contiguous()
    if nodes.numel():
        low, high = (int(end) for end in torch.aminmax(nodes))
        if low < 0 or high >= num_nodes:
            raise InputError(f"{name} names node {low if low < 0 else high}, outside 0..{num_nodes - 1}")
        if bool((nodes.diff() > 0).all()):
            return nodes
        ids, counts = nodes.unique(return_counts=True)
        if ids.numel() < nodes.numel():
            raise InputError(f"{name} names node {int(ids[counts > 1][0])} twice; name each node once")
    return nodes


def renumbered(nodes: Tensor, columns: Tensor, universe: int) -> tuple[Tensor, Tensor]:
    """Number nodes from 0 in the order in which they come: first ``nodes``, then others that are named.

    Args:
        nodes: ``[n]`` int64 ids, each once.
        columns: ``[e]`` ids.
        universe: how many ids there are.

    Returns:
        ``[m]`` int64: the id of every number; ``[e]`` int32: the number of every column.
    """
    module = core()
    if module is not None:
        local, fresh = (
            torch.empty(columns.numel(), dtype=torch.int32),
            torch.empty(columns.numel(), dtype=torch.int64),
        )
        count = module.renumber(nodes, columns, universe, local, fresh)
        return torch.cat([nodes, fresh[:count]]), local
    named = torch.cat([nodes, columns.long()])
    ids, place = named.unique(return_inverse=True)
    first = torch.full((ids.numel(),), named.numel()).scatter_reduce_(
        0, place, torch.arange(named.numel()), "amin"
    )
    order = first.argsort()
    number = torch.empty_like(order)
    number[order] = torch.arange(order.numel())
    return ids[order], number[place[nodes.numel() :]].to(torch.int32)


def most_named(
    rows: Tensor, ids: Tensor, own: Tensor, count: int, words: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each row the ids that are named most often, and how often; its own does not count.

    Args:
        rows: ``[v]`` int64, in ``[0, n)``.
        ids: ``[v]`` int64, what is named for each of them, any number of times.
        own: ``[n]`` int64 the id of each row.
        count: of a row at most; -1: all.
        words: ``[n]`` int32 each: what chance decides by among ids that are named equally often.

    Returns:
        ``[n + 1]`` where each row's ids are; ``[m]`` int64 ids, ascending in each row; ``[m]`` float32, how
        often.
    """
    module = core()
    if module is not None:
        counts, found = torch.empty_like(own), torch.empty_like(ids)
        times = torch.empty(ids.numel(), dtype=torch.float32)
        threads = torch.get_num_threads()
        total = module.most_named(rows, ids, own, *words, count, counts, found, times, threads)
        return offsets(counts), found[:total].clone(), times[:total].clone()
    universe = int(ids.max()) + 1 if ids.numel() else 1
    keys, often = (rows * universe + ids).unique(return_counts=True)
    rows = torch.div(keys, universe, rounding_mode="floor")
    ids = keys - rows * universe
    other = ids != own[rows]
    rows, ids, often = rows[other], ids[other], often[other]
    if count >= 0:
        most = int(often.max()) if often.numel() else 0
        order = source_words(words[0][rows], words[1][rows], ids).argsort(stable=True)
        order = order[(rows * (most + 1) + most - often)[order].argsort(stable=True)]
        counts = torch.bincount(rows, minlength=own.numel())
        rank = torch.empty_like(order)
        rank[order] = torch.arange(order.numel()) - (counts.cumsum(0) - counts)[rows[order]]
        kept = rank < count
        rows, ids, often = rows[kept], ids[kept], often[kept]
    return offsets(torch.bincount(rows, minlength=own.numel())), ids, often.to(torch.float32)
