"""Link prediction: nodes that are linked shall have rows whose product is large.

The score of a link u -> v is the product of the rows that the model gives to its ends. Training sets each
link of the graph against links from other nodes to v, drawn from a pool that all ranks draw alike, anew in
every epoch. The pool's rows are added up over ranks, so that nobody fetches a row for a draw. All draws are
keyed by global node ids: losses and scores are the same for any number of parts. Nodes that are linked to v,
and v itself, are no wrong answers.

Letters: n inner nodes, h halo nodes, E links that end here, K nodes in a pool, W columns of a row.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from gcnsys.datasets.held_out import TEST, VALIDATION
from gcnsys.graph import CSR, located, offsets
from gcnsys.kernels.attention import edge_words
from gcnsys.kernels.dropout import DropoutKey, hashed, row_words
from gcnsys.kernels.edges import Edges, edge_dot
from gcnsys.partition import Part
from gcnsys.runtime import Comm, PartBlock

AT_ONCE = 1 << 16
"""About how many links are scored of more than that; always the same ones."""

_POOL, _WRONG, _SCORED = range(-3, 0)  # sites of draws; those of dropout count from 0
_ALWAYS = 0  # the epoch of draws that are made once
_ELEMENTS = 1 << 22


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """Links that end at this rank's nodes.

    Attributes:
        block: what brings the rows of their sources.
        edges: ``[n, n + h]``, between the rows that it gathers.
    """

    block: PartBlock
    edges: Edges


class Links:
    """What a rank knows of links: those of its graph, and those that were held out of it.

    Args:
        part: with held-out links.
        comm: the ranks.
        device: of the rows that will be scored.
        seed: of the links that are scored, where there are very many.

    Attributes:
        known: the links that are trained on.
        scored: by ``train, val, test``, the links that scores are of.
    """

    def __init__(self, part: Part, comm: Comm, device: torch.device, *, seed: int) -> None:
        assert part.links is not None
        inside, outside = PartBlock(part.whole, comm, device), PartBlock(part.links, comm, device)
        held = outside.edges()
        kinds = held.columns["edge_type"]
        unlooped = _unlooped(inside)
        self.known, self.held_out = Asked(inside, _only(inside, unlooped)), Asked(outside, Edges(held.csr))
        masks = {"train": (inside, unlooped), "val": (outside, kinds == VALIDATION),
                 "test": (outside, kinds == TEST)}  # fmt: skip
        totals = comm.add(torch.tensor([int(mask.sum()) for _, mask in masks.values()]), "control").tolist()
        self._scoring: tuple[Tensor, CSR] | None = None
        self.scored = {
            name: Asked(block, _only(block, mask & _drawn(block, AT_ONCE / max(1, total), seed)))
            for (name, (block, mask)), total in zip(masks.items(), totals, strict=True)
        }

    @property
    def ids(self) -> Tensor:
        """``[n]`` global ids of the rows."""
        return self.known.block.output_ids

    @cached_property
    def _ascending(self) -> tuple[Tensor, Tensor]:
        ids, places = self.ids.sort()
        return ids, places

    def rows_of(self, pool: Tensor, outputs: Tensor) -> Tensor:
        """The rows of any nodes, ascending: ``[K], [n, W] -> [K, W]``; differentiable and collective."""
        ids, places = self._ascending
        there = located(pool, ids)
        mine = torch.nonzero(there >= 0).flatten()
        rows = outputs.new_zeros(pool.numel(), outputs.shape[1])
        return self.known.block.total(rows.index_add(0, mine, outputs[places[there[mine]]]))

    def ever_right(self, pool: Tensor) -> CSR:
        """The same with the links that were held out; kept, as scores are always of one pool."""
        if self._scoring is None or not torch.equal(self._scoring[0], pool):
            self._scoring = pool, self.right(pool, held_out=True)
        return self._scoring[1]

    def right(self, pool: Tensor, *, held_out: bool = False) -> CSR:
        """``[n, K]``: which of a pool's nodes are no wrong answer for each of this rank's nodes."""
        own = located(self.ids, pool)
        rows, cols = [torch.nonzero(own >= 0).flatten()], [own[own >= 0]]
        for asked in (self.known, self.held_out)[: 2 if held_out else 1]:
            place = located(asked.block.gathered_ids, pool)[asked.edges.sources]
            hit = place >= 0
            rows.append(asked.edges.destinations[hit])
            cols.append(place[hit])
        pattern = torch.cat(rows).cpu(), torch.cat(cols).cpu()
        return CSR.from_pairs(*pattern, self.ids.numel(), pool.numel()).to(self.ids.device)


def pool_of(num_nodes: int, size: int, *, seed: int, epoch: int, device: torch.device) -> Tensor:
    """Nodes to draw wrong answers from, ascending: all, or about ``size`` of more than that."""
    if num_nodes <= size:
        return torch.arange(num_nodes, device=device)
    high, low = row_words(DropoutKey(seed, epoch, _POOL), torch.arange(size, device=device))
    words = ((high.long() & 0x7FFFFFFF) << 32) | (low.long() & 0xFFFFFFFF)
    nodes: Tensor = (words % num_nodes).unique()
    return nodes


def wrong_answers(asked: Asked, count: int, pool_size: int, *, seed: int, epoch: int) -> Tensor:
    """Which of a pool's nodes each link is set against: ``[E, count]`` int64; some of them may be right."""
    numbers = torch.arange(count, dtype=torch.int32, device=asked.edges.device)
    words = _words(asked.block, asked.edges, DropoutKey(seed, epoch, _WRONG), numbers)
    return ((words.long() & 0xFFFFFFFF) * pool_size) >> 32


def wrong_edges(asked: Asked, drawn: Tensor, right: CSR) -> Edges:
    """From a pool's nodes to the links' ends, ``[n, K]``, those that are no wrong answer left out."""
    size = right.num_cols
    rows = asked.edges.destinations[:, None].expand_as(drawn).flatten()
    keys, known = rows * size + drawn.flatten(), right.rows().long() * size + right.indices.long()
    if known.numel():
        place = torch.searchsorted(known, keys).clamp_(max=known.numel() - 1)
        keys = keys[known[place] != keys]
    rows = torch.div(keys, size, rounding_mode="floor")
    indptr = offsets(torch.bincount(rows, minlength=right.num_rows))
    return Edges(CSR(indptr, (keys - rows * size).to(torch.int32), size))


def ranked(asked: Asked, reached: Tensor, own: Tensor, pool: Tensor, right: CSR, negatives: int) -> Tensor:
    """How links fare among wrong answers: ``[5]`` float64, summed over links.

    The share of wrong answers that score less, the reciprocal rank, ranks of at most 10, links, loss. Half
    of the answers that score the same count as less.

    Args:
        asked: the links.
        reached: ``[n + h, W]`` rows of their sources.
        own: ``[n, W]`` rows of their ends.
        pool: ``[K, W]`` rows of other sources.
        right: see :meth:`Links.right`.
        negatives: wrong answers to a link, in the loss.
    """
    edges, total = asked.edges, own.new_zeros(5, dtype=torch.float64)
    scores = edge_dot(edges, own, reached, 1)
    step = max(1, _ELEMENTS // max(1, pool.shape[0]))
    for score, ends in zip(scores.split(step), edges.destinations.split(step), strict=True):
        others = own[ends] @ pool.T
        skipped = right.take_rows(ends)
        wrong = torch.ones_like(others, dtype=torch.bool)
        wrong[skipped.rows().long(), skipped.indices.long()] = False
        count = wrong.sum(1).double()
        ties = ((others == score) & wrong).sum(1).double() / 2
        above = ((others > score) & wrong).sum(1).double() + ties
        surprise = torch.where(wrong, F.softplus(others), 0).sum(1).double() / count.clamp(min=1)
        below = torch.where(count > 0, 1 - above / count.clamp(min=1), 0.5)
        losses = F.softplus(-score[:, 0]).double() + negatives * surprise
        figures = below, 1 / (1 + above), (above < 10).double(), torch.ones_like(below), losses
        total += torch.stack([figure.sum() for figure in figures])
    return total


def _unlooped(block: PartBlock) -> Tensor:
    edges = block.edges()
    return block.gathered_ids[edges.sources] != block.output_ids[edges.destinations]


def _only(block: PartBlock, mask: Tensor) -> Edges:
    return Edges(block.edges().csr.keep(mask))


def _drawn(block: PartBlock, share: float, seed: int) -> Tensor:
    """``[E]`` bool: a share of a block's edges, the same on any partitioning."""
    edges = block.edges()
    if share >= 1:
        return torch.ones(edges.csr.num_edges, dtype=torch.bool, device=edges.device)
    none = torch.zeros(1, dtype=torch.int32, device=edges.device)
    words = _words(block, edges, DropoutKey(seed, _ALWAYS, _SCORED), none)[:, 0]
    return (words.long() & 0xFFFFFFFF) < share * 2**32


def _words(block: PartBlock, edges: Edges, key: DropoutKey, numbers: Tensor) -> Tensor:
    """32 bits as int32 for each edge and number: ``[E, k]``."""
    source = row_words(key, block.gathered_ids)[0]
    return hashed(*edge_words(edges, *row_words(key, block.output_ids), source, numbers))
