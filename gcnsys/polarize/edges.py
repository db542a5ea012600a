"""The edges of a rank's share that may be pruned, and what both directions of one have in common.

An edge lives where its row lives. In a symmetric graph it is there twice, perhaps on two ranks: gradients of
the two copies are added up, in either place in the same way, so that the copies stay equal bit for bit.

Letters: E edges that end at this rank's rows, K rows that they may start from.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gcnsys.graph import ranked
from gcnsys.kernels import Block
from gcnsys.kernels.dropout import DropoutKey, hashed, row_words
from gcnsys.runtime import Comm, PartBlock

_TIES = -(1 << 50)
"""The site of the hashes that tell equal values apart; those of dropout and of draws lie elsewhere."""


@dataclass(frozen=True, eq=False)
class PartEdges:
    """The edges of a block, by destination.

    Attributes:
        comm: the ranks.
        receivers: ``[E]`` int64 global ids, which are places in the order of the layout.
        senders: ``[E]`` int64 global ids.
        owners: ``[E]`` int64 ranks that the senders' rows live on.
        symmetric: every edge is there both ways.
        total: free edges of all ranks, the two directions of a symmetric one counted once.
        length: the sum of their distances.
        seed: of the rule for ties.
    """

    comm: Comm
    receivers: Tensor
    senders: Tensor
    owners: Tensor
    symmetric: bool
    total: int
    length: float
    seed: int = 0

    @classmethod
    def of(cls, block: Block, comm: Comm, *, symmetric: bool, seed: int = 0) -> "PartEdges":
        """Those of an unpruned block; collective."""
        edges = block.edges()
        receivers, senders = block.output_ids[edges.destinations], block.gathered_ids[edges.sources]
        rank = torch.full((block.input_ids.numel(),), comm.rank)
        owner = rank
        if isinstance(block, PartBlock):
            counts = torch.tensor(block.graph.plan.recv_counts)
            owner = torch.cat([rank, torch.repeat_interleave(torch.arange(comm.size), counts)])
        counted = receivers > senders if symmetric else receivers != senders
        lengths = (receivers - senders).abs()[counted]
        total, length = comm.add(torch.stack([counted.sum(), lengths.sum()]), "control").tolist()
        owners = owner.to(edges.device)[edges.sources]
        return cls(comm, receivers, senders, owners, symmetric, total, float(length), seed)

    @property
    def count(self) -> int:
        return self.receivers.numel()

    @cached_property
    def free(self) -> Tensor:
        """``[E]`` bool: edges between two nodes; a node's edge to itself is always kept."""
        return self.receivers != self.senders

    @cached_property
    def _all_free(self) -> bool:
        return bool(self.free.all())

    @cached_property
    def counted(self) -> Tensor:
        """``[E]`` bool: free edges, of the two directions of a symmetric one that into the later node."""
        return self.receivers > self.senders if self.symmetric else self.free

    @cached_property
    def counted_places(self) -> Tensor:
        """Which edges those are, ``[e]`` int64."""
        return torch.nonzero(self.counted).flatten()

    @property
    def distance(self) -> Tensor:
        """``[E]`` float64: ``|i - j|``, how far an edge lies from the diagonal."""
        return (self.receivers - self.senders).abs().double()

    @cached_property
    def keys(self) -> tuple[Tensor, Tensor]:
        """``[E]`` int64 each: a hash of the edge, then a number of its own; alike in both directions."""
        first, second = self.receivers, self.senders
        if self.symmetric:
            first, second = torch.minimum(first, second), torch.maximum(first, second)
        a, b = row_words(DropoutKey(self.seed, 0, _TIES), first)
        return hashed(a, b, second.to(torch.int32)).long() + 2**31, self._number(first, second)

    def _number(self, first: Tensor, second: Tensor) -> Tensor:
        # Ids lie below 2^31 in all graphs whose edges a machine holds, so that two make one number.
        return (first << 31) | second

    @property
    def numbers(self) -> Tensor:
        """``[E]`` int64: receiver, then sender, in one number, which ascends over a graph's edges."""
        return self._number(self.receivers, self.senders)

    @cached_property
    def _meeting(self) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Where each edge's other direction is, if it lives here; and how values meet those of other ranks.

        Returns:
            ``[E]`` the place of the other direction, its own if that lives elsewhere; in which order edges
            leave for theirs, in which they come back, and how many to each rank.
        """
        forth, back = (
            ranked(each.cpu()) for each in (self.numbers, self._number(self.senders, self.receivers))
        )
        owners = self.owners.cpu()
        here = owners == self.comm.rank
        place = torch.arange(self.count)
        place[back[here[back]]] = forth[here[forth]]
        leave, arrive = (each[~here[each]] for each in (forth, back))
        leave, arrive = (each[torch.argsort(owners[each], stable=True)] for each in (leave, arrive))
        counts = torch.bincount(owners[leave], minlength=self.comm.size).tolist()
        place, leave, arrive = (each.to(self.owners.device) for each in (place, leave, arrive))
        return place, leave, arrive, counts

    def paired(self, values: Tensor) -> Tensor:
        """``[E]``: the sum of an edge's value and of that of its other direction; collective.

        In a graph with directions, the values as they are.
        """
        if not self.symmetric:
            return values
        place, leave, arrive, counts = self._meeting
        flight = self.comm.swap(values[leave][:, None], counts, counts)
        other = values.index_select(0, place)
        other[arrive] = flight.land()[:, 0]
        # An edge of a node to itself is its own other direction.
        return other.add_(values) if self._all_free else torch.where(self.free, other + values, values)
