"""What samplers share that go layer by layer from the seeds back to the inputs."""

from abc import abstractmethod
from dataclasses import replace

from torch import Tensor

from gcnsys.kernels.ids import renumbered
from gcnsys.kernels.sampled import SampledBlock
from gcnsys.sampling.api import Moment, Sample, Sampler
from gcnsys.sampling.neighbourhood import Found


class Layered(Sampler):
    """A block a layer; what differs is which edges a frontier gets."""

    def sample(self, seeds: Tensor, moment: Moment) -> Sample:
        frontier, blocks = self.checked(seeds), []
        for layer in reversed(range(self.standard.layers)):
            found = self.hop(frontier, layer, moment)
            frontier, columns = renumbered(frontier, found.csr.indices, self.graph.num_nodes)
            csr = replace(found.counted, indices=columns, num_cols=frontier.numel())
            blocks.append(SampledBlock(csr, frontier, found.in_weight, found.factor, self.graph.degrees))
        blocks.reverse()
        edges = sum(block.matrix.csr.num_edges for block in blocks)
        return Sample(tuple(blocks), metrics={"rows": frontier.numel(), "edges": edges})

    @abstractmethod
    def hop(self, frontier: Tensor, layer: int, moment: Moment) -> Found:
        """Edges to the nodes of a frontier ``[n]``, for the layer that computes them."""
