"""Work over edges on one device: sparse products, keyed dropout, blocks."""

from gcnsys.kernels.block import Block, LocalBlock
from gcnsys.kernels.dropout import DropoutKey, keyed_dropout
from gcnsys.kernels.features import SparseRows
from gcnsys.kernels.matrix import Matrix

NAME = "torch"
"""Which implementation runs; recorded with every run."""

__all__ = ["NAME", "Block", "DropoutKey", "LocalBlock", "Matrix", "SparseRows", "keyed_dropout"]
