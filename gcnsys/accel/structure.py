"""The matrix that layers aggregate by, as far as it is known.

Letters: N nodes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gcnsys.accel.blocks import Blocks
from gcnsys.accel.islands import IslandTasks
from gcnsys.errors import InputError
from gcnsys.graph import CSR, Graph

Kind = Literal["gcn", "sage", "gin"]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Structure:
    """The matrix that is multiplied by, A + I, as far as it is known.

    Attributes:
        num_nodes: N.
        entries: of A + I; of A where a layer treats a node's own row apart.
        matrix: its pattern, ``[N, N]``; None: counts alone are known.
        blocks: its diagonal blocks after polarization.
        islands: what its islands save.
    """

    num_nodes: int
    entries: int
    matrix: CSR | None = None
    blocks: Blocks | None = None
    islands: IslandTasks | None = None

    def __post_init__(self) -> None:
        if self.num_nodes < 1 or self.entries < 0:
            raise InputError(
                f"a graph needs a node and no fewer than 0 entries, got {self.num_nodes} and {self.entries}"
            )

    @classmethod
    def of(
        cls, graph: Graph, blocks: Blocks | None = None, islands: IslandTasks | None = None, *,
        kind: Kind = "gcn",
    ) -> "Structure":  # fmt: skip
        """That of a graph; all nodes get a self-loop, unless layers treat a node's own row apart."""
        matrix = graph.adjacency.pattern if kind == "sage" else graph.adjacency.looped()
        return cls(graph.num_nodes, matrix.num_edges, matrix, blocks, islands)

    @property
    def row_entries(self) -> Counts | None:
        """``[N]`` entries of each row, where they are known."""
        return None if self.matrix is None else self.matrix.indptr.diff().numpy()
