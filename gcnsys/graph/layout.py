"""A node order cut into consecutive groups: what polarization and islandization both produce."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph.csr import offsets
from gcnsys.graph.graph import Graph


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """Nodes in a new order, cut into consecutive groups.

    Attributes:
        order: ``[N]`` int64, a permutation; ``order[new] = old``.
        group_ptr: ``[G + 1]`` int64; group ``g`` is ``order[group_ptr[g]:group_ptr[g + 1]]``.
    """

    order: Tensor
    group_ptr: Tensor

    def __post_init__(self) -> None:
        num_nodes = self.order.numel()
        seen = torch.zeros(num_nodes, dtype=torch.bool)
        inside = (self.order >= 0) & (self.order < num_nodes)
        seen[self.order[inside]] = True
        if not bool(seen.all()):
            raise InputError(f"a layout's order must name each of {num_nodes} nodes once")
        bounds = self.group_ptr
        if bounds.numel() == 0 or int(bounds[0]) != 0 or int(bounds[-1]) != num_nodes:
            raise InputError(f"a layout's groups must run from 0 to {num_nodes}, got {bounds.tolist()[:8]}")
        if bool((bounds.diff() < 0).any()):
            raise InputError("a layout's group bounds decrease")

    @property
    def num_groups(self) -> int:
        """How many there are."""
        return self.group_ptr.numel() - 1

    @classmethod
    def from_groups(cls, group_of: Tensor, num_groups: int | None = None) -> "Layout":
        """Order nodes by group ``[N]``, then by id."""
        count = num_groups if num_groups is not None else int(group_of.max()) + 1 if group_of.numel() else 0
        if group_of.numel() and (int(group_of.min()) < 0 or int(group_of.max()) >= count):
            wrong = int(group_of.min()) if int(group_of.min()) < 0 else int(group_of.max())
            raise InputError(f"a layout of {count} groups cannot have a group {wrong}")
        sizes = torch.bincount(group_of, minlength=count)
        return cls(torch.argsort(group_of, stable=True), offsets(sizes))

    def group_of(self) -> Tensor:
        """The group of every old node id, ``[N]``."""
        group = torch.empty_like(self.order)
        group[self.order] = torch.repeat_interleave(self.group_ptr.diff())
        return group

    def applied(self, graph: Graph) -> Graph:
        """The graph in the new order."""
        return graph.induced(self.order)

    def edges_inside(self, graph: Graph) -> int:
        """How many edges join two nodes of one group; the rest lie off the diagonal."""
        group = self.group_of()
        same = group[graph.adjacency.rows().long()] == group[graph.adjacency.indices.long()]
        return int(same.sum())
