"""A model as a planner sees it: how wide its rows are, how many weights it has, what it computes a row."""

from dataclasses import dataclass
from functools import cached_property

from gcnsys.errors import InputError
from gcnsys.nn import Model, models
from gcnsys.nn.norm import BatchNorm
from gcnsys.partition import Manifest
from gcnsys.partition.costs import Widths
from gcnsys.train import RunConfig
from gcnsys.train.making import num_outputs
from gcnsys.train.view import precomputes
from gcnsys.train.votes import Votes


@dataclass(frozen=True)
class Job:
    """What is to be trained.

    Attributes:
        config: of the run.
        num_features: width of features.
        num_outputs: width of what the model gives.
        density: the share of features that is not zero, where they are sparse; None: they are dense.
        edge_kinds: of the graph.
    """

    config: RunConfig
    num_features: int
    num_outputs: int
    density: float | None = None
    edge_kinds: int = 1

    @classmethod
    def on(cls, manifest: Manifest, config: RunConfig, density: float = 0.0) -> "Job":
        """A configuration on a partitioning."""
        return cls(
            config, manifest.num_features, num_outputs(manifest, config),
            density if manifest.sparse_features else None, manifest.edge_kinds,
        )  # fmt: skip

    @cached_property
    def model(self) -> Model:
        """The model; its weights mean nothing."""
        settings = self.config.model_settings(self.edge_kinds)
        return models.get(self.config.model)(settings, self.num_features, self.num_outputs)

    @property
    def sparse(self) -> bool:
        return self.density is not None

    @cached_property
    def precomputed(self) -> bool:
        """Whether first aggregations are done once.

        Raises:
            InputError: they are asked for and cannot be.
        """
        return precomputes(self.config.first_hop, sparse=self.sparse, sums=self.model.ready_hops > 0)

    @cached_property
    def widths(self) -> Widths:
        """What crosses.

        Raises:
            InputError: the model does not say.
        """
        model = self.model
        return Widths.of(model.hops(sparse=self.sparse), ready=model.ready_hops * self.precomputed)

    @cached_property
    def reduced(self) -> list[int]:
        """How many numbers each reduction of a training epoch adds up over ranks.

        Gradients, how many ranks have each, the loss and what ranks tell each other go in one; batch norm
        asks for a mean, with a count, and for a variance, and in backward for the gradients of both.
        """
        learnt = sum(weight.numel() + 1 for weight in self.model.parameters() if weight.requires_grad)
        found = [learnt + 1 + len(Votes.__dataclass_fields__)]
        for module in self.model.modules():
            if isinstance(module, BatchNorm):
                width = next(module.parameters()).numel()
                found += [width + 1, width, width + 1, width]
        return found

    @cached_property
    def flops(self) -> tuple[float, float]:
        """Operations of an epoch a node and an edge.

        Of every product of rows and weights there are three, forward and for both gradients, but that of
        the inputs, which have none; aggregations go both ways as rows do that cross.
        """
        matrices = [weight.numel() for weight in self.model.parameters() if weight.ndim == 2]
        if not matrices:
            raise InputError(f"{self.config.model}: a model without products of matrices is not known here")
        first = sum(w.numel() for w in self.model.first.parameters() if w.ndim == 2) or matrices[0]
        share = 1.0 if self.density is None else self.density
        a_node = 6.0 * (sum(matrices) - first) + 4.0 * first * share
        widths = self.widths
        return a_node, 2.0 * (sum(widths.features) + sum(widths.gradients))
