"""What a design is judged by: accuracy from the supernet, latency from the cost model."""

from dataclasses import dataclass
from functools import cache

from gcnsys.accel import Accelerator, Estimate, IslandTasks, Structure, Work, load, model_work
from gcnsys.datasets import Dataset
from gcnsys.islands import locate, windows
from gcnsys.kernels import Block, LocalBlock
from gcnsys.search.budget import Budget
from gcnsys.search.layouts import farthest_dropped, island_tasks, polarized_blocks
from gcnsys.search.space import PRUNED, Design, Shape
from gcnsys.search.supernet import SuperNet

BASELINE = Shape()
"""Two GCN layers of 16, nothing pruned, 32 bits."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A design's worth.

    Attributes:
        accuracy: on validation nodes, with the supernet's weights.
        seconds: of one inference, by estimate.
    """

    accuracy: float
    seconds: float


class Problem:
    """A dataset, its pruned copies and a budget.

    Args:
        dataset: with masks.
        budget: of every accelerator.
        seed: of the supernet.

    Attributes:
        graphs: by the share of edges that is pruned.
    """

    def __init__(self, dataset: Dataset, budget: Budget, *, seed: int) -> None:
        self.dataset, self.budget = dataset, budget
        graph = dataset.graph.without_self_loops().symmetrized()
        degree = graph.adjacency.indptr.diff()
        self.blocks = polarized_blocks(graph, (int(degree.median()) + 1,))
        self.graphs = {
            share: farthest_dropped(graph, self.blocks, share) if share else graph for share in PRUNED
        }
        blocks: dict[float, Block] = {
            share: LocalBlock.from_graph(each) for share, each in self.graphs.items()
        }
        self.supernet = SuperNet(dataset, blocks, seed=seed)
        self.accuracy = cache(self.supernet.judged)

    def network(self, seed: int) -> SuperNet:
        """A new supernet over the same graphs."""
        blocks: dict[float, Block] = {
            share: LocalBlock.from_graph(each) for share, each in self.graphs.items()
        }
        return SuperNet(self.dataset, blocks, seed=seed)

    def alone(self, shape: Shape, *, seed: int, steps: int) -> tuple[float, float]:
        """Accuracy on validation and on test nodes of a model trained by itself."""
        return self.network(seed).fit_alone(shape, steps)

    @cache  # noqa: B019 (a problem lives as long as its process)
    def _tasks(self, pruned: float) -> IslandTasks:
        islands = locate(self.graphs[pruned])
        return island_tasks(islands, windows.exact(islands))

    def structure(self, shape: Shape) -> Structure:
        """The matrix that a model's layers aggregate by, with diagonal blocks and islands."""
        graph = self.graphs[shape.pruned]
        return Structure.of(graph, self.blocks, self._tasks(shape.pruned), kind=shape.kind)

    @cache  # noqa: B019 (a problem lives as long as its process)
    def work(self, shape: Shape) -> Work:
        """What a model asks for, with the zeros that its hidden rows have."""
        widths = shape.widths(self.dataset.num_features, self.dataset.num_classes)
        structure = self.structure(shape)
        _, _, shares = self.accuracy(shape)
        return model_work(
            self.dataset.name, structure, widths, self.dataset.x, kind=shape.kind, hidden_density=shares,
            bits=shape.bits, weight_groups=shape.weight_groups,
        )  # fmt: skip

    def estimate(self, design: Design) -> Estimate:
        """A design's cost."""
        return design.hardware.accelerator(self.budget, design.shape.bits).estimate(self.work(design.shape))

    def judge(self, design: Design) -> Judged:
        """A design's accuracy and latency."""
        return Judged(self.accuracy(design.shape)[0], self.estimate(design).seconds)

    def beside_gcod(self, design: Design) -> dict[str, float]:
        """How many times as fast as GCoD's template a design is, on its own model, bits and budget.

        Returns:
            ``as_it_is``; ``one_constant``: if the design reaches no larger a share of its rate than GCoD;
            ``zeros_skipped``: over a GCoD that skips zeros of weights as well, in equally many elements.
        """
        work, bits = self.work(design.shape), design.shape.bits
        gcod, own = self.gcod(bits), design.hardware.accelerator(self.budget, bits)
        theirs, ours = gcod.estimate(work), own.estimate(work)
        slowed = own.changed("efficiency", min(gcod.fit.efficiency, own.fit.efficiency)).estimate(work)
        kept = sum(step.kept_combination + step.aggregation for step in work.steps()) / work.macs()
        ratio = ours.speedup_over(theirs)
        return {
            "as_it_is": ratio, "one_constant": slowed.speedup_over(theirs), "zeros_skipped": kept * ratio,
        }  # fmt: skip

    def gcod(self, bits: int) -> Accelerator:
        """GCoD's template within the same budget."""
        gcod = load("gcod").changed("macs", self.budget.macs(bits)).changed("on_chip_bytes", self.budget.bram)
        gcod = gcod.changed("bandwidth_gb_per_s", self.budget.bandwidth)
        return gcod.changed("clock_mhz", self.budget.clock).changed("value_bits", bits)
