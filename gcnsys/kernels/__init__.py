"""Work over edges on one device: sparse products, keyed dropout, blocks."""

from gcnsys.kernels.activation import RowNorm, activation
from gcnsys.kernels.backend import name
from gcnsys.kernels.block import Block, LocalBlock
from gcnsys.kernels.dropout import DropoutKey, Mask, keyed_dropout
from gcnsys.kernels.dropped import DroppedRows
from gcnsys.kernels.features import SparseRows
from gcnsys.kernels.matrix import Matrix

__all__ = [
    "Block", "DropoutKey", "DroppedRows", "LocalBlock", "Mask", "Matrix", "RowNorm", "SparseRows",
    "activation", "keyed_dropout", "name",
]  # fmt: skip
