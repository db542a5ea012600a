"""Graphs that tests of the cost model share."""

import numpy as np
import torch

from gcnsys.graph import Graph


def power_law(nodes, edges, seed=0):
    """An undirected graph in which few nodes have many neighbours."""
    rng = np.random.default_rng(seed)
    ends = np.minimum((nodes * rng.random((2, edges)) ** 3).astype(np.int64), nodes - 1)
    ends[1] = rng.permutation(nodes)[ends[1]]
    return Graph.from_edge_index(torch.from_numpy(ends), num_nodes=nodes).symmetrized()
