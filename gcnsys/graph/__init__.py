"""The graph value that everything shares, and node layouts."""

from gcnsys.graph.csr import CSR, EDGE_COLUMNS, ascending, index_dtype, located, offsets, ranked
from gcnsys.graph.graph import Graph
from gcnsys.graph.layout import Layout

__all__ = [
    "CSR",
    "EDGE_COLUMNS",
    "Graph",
    "Layout",
    "ascending",
    "index_dtype",
    "located",
    "offsets",
    "ranked",
]
