r"""The programming model of samplers (GNNSampler, Liu et al., ECML-PKDD 2022), and how others add to it.

A sampler is *initialised* once for a graph: with a **node partition** (which seeds make a batch), a
**standard** (how many are drawn, and how), and perhaps **locality** (weights that prefer some neighbours). It
is then *executed* batch by batch, layer by layer: it **updates the adjacency** (which edges may be drawn),
**draws**, and **collects metrics**. :class:`Sampler` asks a plug-in for :meth:`Sampler.sample` alone.

A package adds a sampler under the entry point group ``gcnsys.samplers``: a name and what makes it, called
with a :class:`~gcnsys.sampling.neighbourhood.Neighbourhood` and a :class:`Standard`.
:func:`gcnsys.testing.minibatch.check_sampler` says whether it keeps its promises.

Letters: D rows that come out of a batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.kernels.block import Block
from gcnsys.kernels.dropout import DropoutKey, row_words
from gcnsys.kernels.ids import checked_nodes
from gcnsys.registry import Registry
from gcnsys.sampling.locality import in_runs
from gcnsys.sampling.neighbourhood import Neighbourhood


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is drawn: all that draws depend on besides what they are made from.

    Attributes:
        seed: of the run.
        step: batches since it began.
    """

    seed: int
    step: int = 0

    def key(self, site: int) -> DropoutKey:
        """What keyed draws at one of a sampler's places depend on, such as a layer."""
        return DropoutKey(self.seed, self.step, site)

    def generator(self, site: int = 0) -> torch.Generator:
        """A generator for draws that are not keyed by nodes; the same moment and place give the same one."""
        low, high = (int(word) & 0xFFFFFFFF for word in row_words(self.key(site), torch.tensor([-1])))
        return torch.Generator().manual_seed((high << 32 | low) % 2**63)


@dataclass(frozen=True, slots=True)
class Standard:
    """How much is drawn.

    Attributes:
        layers: of the model.
        fanouts: neighbours of a node, the first layer's first (that which reads the inputs); -1: all.
        budget: nodes a layer, edges, or roots, for samplers that do not draw node by node.
        walk: steps of a walk, for samplers that walk.
        walks: that begin at a node, and
        restart: how likely each of them ends after a step.
        repeated: a neighbour may be drawn more than once.
        groups: ``[n]`` the cluster of every node that this process holds, for samplers of clusters.
        preference: ``[n]`` float64, how readily each of those is drawn; None: all alike
            (:mod:`gcnsys.sampling.locality`).
        runs: seeds of neighbouring ids that stay together.
    """

    layers: int = 2
    fanouts: tuple[int, ...] = (10, 10)
    budget: int = 1024
    walk: int = 2
    walks: int = 10
    restart: float = 0.5
    repeated: bool = False
    groups: Tensor | None = field(default=None, compare=False)
    preference: Tensor | None = field(default=None, compare=False)
    runs: int = 1

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise InputError(f"there must be at least one layer, got {self.layers}")
        if len(self.fanouts) != self.layers:
            raise InputError(
                f"{self.layers} layers need as many fan-outs, got {len(self.fanouts)}: "
                f"{','.join(map(str, self.fanouts)) or 'none'}"
            )
        for fanout in self.fanouts:
            if fanout < 1 and fanout != -1:
                raise InputError(f"a fan-out must be at least 1, or -1 for all neighbours, got {fanout}")
        if not 0 <= self.restart < 1:
            raise InputError(f"restart must be in [0, 1), got {self.restart}")
        for name in ("budget", "walk", "walks", "runs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """What one batch computes on.

    Attributes:
        blocks: one a layer; the rows that come out of one go into the next.
        weight: ``[D]`` float32, what each row that comes out counts in the loss; None: 1.
        metrics: what was collected, by name.
    """

    blocks: tuple[Block, ...]
    weight: Tensor | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def input_ids(self) -> Tensor:
        """The nodes whose features are read."""
        return self.blocks[0].input_ids

    @property
    def output_ids(self) -> Tensor:
        """The nodes that come out, ``[D]``."""
        return self.blocks[-1].output_ids


class Sampler(ABC):
    """Draws samples around seeds; all randomness comes from a :class:`Moment`.

    Attributes:
        unbiased: sums over drawn neighbours are right on average.
        prefers: it can draw some nodes more readily than others.
        covers: batches hold every node once; where they do not, they are drawn.
        follows_edges: blocks hold edges of the graph alone.
    """

    unbiased: bool = True
    covers: bool = True
    follows_edges: bool = True
    prefers: bool = False

    def __init__(self, graph: Neighbourhood, standard: Standard) -> None:
        self.graph, self.standard = graph, standard
        if standard.preference is not None:
            if not self.prefers:
                raise InputError(
                    f"{type(self).__name__} draws all nodes alike; drop the preference (locality), or choose "
                    f"a sampler that knows one"
                )
            # What is never drawn is missing from every sum.
            self.unbiased = self.unbiased and bool((standard.preference > 0).all())

    def batches(self, nodes: Tensor, size: int, moment: Moment) -> Sequence[Tensor]:
        """The node partition: batches of ``size`` of the nodes, in a drawn order; the last may be smaller."""
        drawn = in_runs(nodes, self.standard.runs, moment.generator(-1))
        batches: Sequence[Tensor] = drawn.split(max(1, size))
        return batches

    @abstractmethod
    def sample(self, seeds: Tensor, moment: Moment) -> Sample:
        """Draw a sample around ``seeds`` ``[n]``, ids that differ from each other."""

    def checked(self, seeds: Tensor) -> Tensor:
        """The seeds, if a batch can be drawn around them.

        Raises:
            InputError: one is no node, or comes twice.
        """
        return checked_nodes("seeds", seeds, self.graph.num_nodes)


SamplerMaker = Callable[[Neighbourhood, Standard], Sampler]
samplers: Registry[SamplerMaker] = Registry("sampler", "gcnsys.samplers")
