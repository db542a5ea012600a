"""Graph -> assignment -> partitioning on disk -> one part."""

from gcnsys.partition.assign import assign, methods
from gcnsys.partition.build import Cutting, build
from gcnsys.partition.disk import Partitioning
from gcnsys.partition.local import cut_dataset
from gcnsys.partition.manifest import Manifest
from gcnsys.partition.part import ExchangePlan, NodeData, Part, PartGraph
from gcnsys.partition.pieces import cut

__all__ = [
    "Cutting", "ExchangePlan", "Manifest", "NodeData", "Part", "PartGraph", "Partitioning",
    "assign", "build", "cut", "cut_dataset", "methods",
]  # fmt: skip
