"""Samples of a graph for training in batches; see :mod:`gcnsys.sampling.api`."""

from gcnsys.sampling.api import Moment, Sample, Sampler, Standard, samplers
from gcnsys.sampling.layer_wise import FastGCNSampler, LadiesSampler
from gcnsys.sampling.layered import Layered
from gcnsys.sampling.locality import Locality
from gcnsys.sampling.neighbourhood import Found, Neighbourhood, WholeGraph
from gcnsys.sampling.node_wise import LaborSampler, NeighbourSampler
from gcnsys.sampling.saint import SaintEdgeSampler, SaintNodeSampler, SaintWalkSampler
from gcnsys.sampling.subgraph import ClusterSampler, ShadowSampler
from gcnsys.sampling.walks import PinSageSampler

__all__ = [
    "ClusterSampler", "FastGCNSampler", "Found", "LaborSampler", "LadiesSampler", "Layered", "Locality",
    "Moment", "NeighbourSampler", "Neighbourhood", "PinSageSampler", "SaintEdgeSampler", "SaintNodeSampler",
    "SaintWalkSampler", "Sample", "Sampler", "ShadowSampler", "Standard", "WholeGraph", "samplers",
]  # fmt: skip
