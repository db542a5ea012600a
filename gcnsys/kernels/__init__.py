"""Work over edges on one device: sparse products, keyed dropout, blocks."""

from gcnsys.kernels.backend import name
from gcnsys.kernels.block import Block, LocalBlock
from gcnsys.kernels.dropout import DropoutKey, keyed_dropout
from gcnsys.kernels.features import SparseRows
from gcnsys.kernels.matrix import Matrix

__all__ = ["Block", "DropoutKey", "LocalBlock", "Matrix", "SparseRows", "keyed_dropout", "name"]
