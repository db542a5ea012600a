"""Work over edges on one device: sparse products, attention, keyed dropout, blocks."""

from gcnsys.kernels.attention import EdgeDropout, gat_attention
from gcnsys.kernels.backend import name
from gcnsys.kernels.block import Block, LocalBlock
from gcnsys.kernels.dropout import DropoutKey, keyed_dropout
from gcnsys.kernels.edges import Edges, edge_add, edge_dot, edge_softmax, weighted_sum
from gcnsys.kernels.features import SparseRows
from gcnsys.kernels.matrix import Matrix

__all__ = [
    "Block",
    "DropoutKey",
    "EdgeDropout",
    "Edges",
    "LocalBlock",
    "Matrix",
    "SparseRows",
    "edge_add",
    "edge_dot",
    "edge_softmax",
    "gat_attention",
    "keyed_dropout",
    "name",
    "weighted_sum",
]
