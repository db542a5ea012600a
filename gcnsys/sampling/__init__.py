"""Samples of a graph for training in batches; see :mod:`gcnsys.sampling.api`."""

from gcnsys.sampling.api import Moment, Sample, Sampler, Standard, samplers
from gcnsys.sampling.neighbourhood import Neighbourhood, WholeGraph
from gcnsys.sampling.node_wise import LaborSampler, NeighbourSampler, WeightedNeighbourSampler

__all__ = [
    "LaborSampler", "Moment", "NeighbourSampler", "Neighbourhood", "Sample", "Sampler", "Standard",
    "WeightedNeighbourSampler", "WholeGraph", "samplers",
]  # fmt: skip
