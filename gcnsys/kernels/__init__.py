"""Work over edges and rows on one device: sparse products, attention, activations, dropout, blocks."""

from gcnsys.kernels.activation import RowNorm, activation
from gcnsys.kernels.attention import EdgeDropout, gat_attention
from gcnsys.kernels.backend import name
from gcnsys.kernels.block import Block, LocalBlock
from gcnsys.kernels.dropout import DropoutKey, Mask, keyed_dropout
from gcnsys.kernels.dropped import DroppedRows
from gcnsys.kernels.edges import Edges, edge_add, edge_dot, edge_softmax, weighted_sum
from gcnsys.kernels.features import SparseRows
from gcnsys.kernels.matrix import Matrix
from gcnsys.kernels.softmax_mean import softmax_mean

__all__ = [
    "Block", "DropoutKey", "DroppedRows", "EdgeDropout", "Edges", "LocalBlock", "Mask", "Matrix", "RowNorm",
    "SparseRows", "activation", "edge_add", "edge_dot", "edge_softmax", "gat_attention", "keyed_dropout",
    "name", "softmax_mean", "weighted_sum",
]  # fmt: skip
